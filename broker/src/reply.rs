//! Reading what scripts answer: arrays whose first element says what happened.

use redis::Value;

use crate::error::BrokerError;

/// An answer that is taken apart from its front.
pub(crate) struct Reply {
    script: &'static str,
    values: std::vec::IntoIter<Value>,
}

impl Reply {
    pub(crate) fn new(script: &'static str, value: Value) -> Result<Self, BrokerError> {
        match value {
            Value::Array(values) => Ok(Self { script, values: values.into_iter() }),
            single => Ok(Self { script, values: vec![single].into_iter() }),
        }
    }

    pub(crate) fn nonsense(&self) -> BrokerError {
        BrokerError::refused(self.script, "its answer has a shape that this version does not know")
    }

    fn next(&mut self) -> Result<Value, BrokerError> {
        self.values.next().ok_or_else(|| self.nonsense())
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.values.as_slice().is_empty()
    }

    pub(crate) fn bytes(&mut self) -> Result<Vec<u8>, BrokerError> {
        match self.next()? {
            Value::BulkString(bytes) => Ok(bytes),
            Value::SimpleString(text) => Ok(text.into_bytes()),
            _ => Err(self.nonsense()),
        }
    }

    pub(crate) fn text(&mut self) -> Result<String, BrokerError> {
        let bytes = self.bytes()?;
        String::from_utf8(bytes).map_err(|_| self.nonsense())
    }

    pub(crate) fn int(&mut self) -> Result<u64, BrokerError> {
        match self.next()? {
            Value::Int(n) => u64::try_from(n).map_err(|_| self.nonsense()),
            Value::BulkString(bytes) => {
                std::str::from_utf8(&bytes).ok().and_then(|text| text.parse().ok()).ok_or_else(|| self.nonsense())
            }
            _ => Err(self.nonsense()),
        }
    }

    pub(crate) fn list(&mut self) -> Result<Reply, BrokerError> {
        match self.next()? {
            Value::Array(values) => Ok(Reply { script: self.script, values: values.into_iter() }),
            _ => Err(self.nonsense()),
        }
    }

    /// The refusal of a script that found the call at odds with the state.
    pub(crate) fn mismatch(&mut self) -> BrokerError {
        match self.text() {
            Ok(what) => BrokerError::refused(self.script, what),
            Err(error) => error,
        }
    }
}
