//! `shared.lookup`, `shared.sum`: tasks that read what their batch shares; `large`: one that returns much.

use std::collections::BTreeMap;

use gristmill_shared::{Bytes, KernelError, TaskContext, kernel};

use crate::value::Value;

/// Returns what stands behind a key in the shared input, a map with texts as keys; null, if it is not there.
#[kernel(name = "shared.lookup")]
pub fn lookup(ctx: &TaskContext, key: String) -> Result<Value, KernelError> {
    let table = ctx.shared::<BTreeMap<String, Value>>()?;
    Ok(table.get(&key).cloned().unwrap_or(Value::Nil))
}

/// Adds up bytes of the shared input, which is binary data: so many from this one on. Returns the sum and the process.
#[kernel(name = "shared.sum")]
pub fn sum_shared(ctx: &TaskContext, from: u64, bytes: u64) -> Result<(u64, u32), KernelError> {
    let data = ctx.shared_bytes()?;
    let range = from as usize..from.saturating_add(bytes) as usize;
    let part = data.get(range).ok_or_else(|| KernelError::fatal(format!("there are only {} bytes", data.len())))?;
    Ok((part.iter().map(|&byte| u64::from(byte)).sum(), std::process::id()))
}

/// Returns so many bytes, at most 64 MiB.
#[kernel]
pub fn large(bytes: u64) -> Result<Bytes, KernelError> {
    if bytes > 64 << 20 {
        return Err(KernelError::fatal(format!("{bytes} bytes are too many: use up to 64 MiB")));
    }
    Ok(Bytes((0..bytes).map(|n| (n % 251) as u8).collect()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn they_read_what_is_shared() {
        let ctx = TaskContext::detached();
        assert!(lookup(&ctx, "a".into()).is_err());
        let ctx = ctx.with_shared(&BTreeMap::from([("a", 7)]));
        assert_eq!(lookup(&ctx, "a".into()), Ok(Value::UInt(7)));
        assert_eq!(lookup(&ctx, "b".into()), Ok(Value::Nil));
        let ctx = ctx.with_shared_bytes(&[1, 2, 3]);
        assert_eq!(sum_shared(&ctx, 1, 2).map(|(sum, _)| sum), Ok(5));
        assert_eq!((large(3), large(u64::MAX).is_err()), (Ok(Bytes(vec![0, 1, 2])), true));
        assert!(sum_shared(&ctx, 1, 3).is_err() && sum_shared(&ctx, 1, u64::MAX).is_err());
    }
}
