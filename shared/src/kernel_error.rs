//! What a kernel says when it cannot return a value.

use std::error::Error;
use std::fmt;
use std::time::Duration;

use serde::Serialize;

use crate::codec;
use crate::defaults::{ERROR_CHAIN_MAX, ERROR_DETAILS_BYTES_MAX};
use crate::failure;

/// Why a kernel did not return a value.
///
/// Any `std::error::Error` converts into it, so `?` works in a kernel; the name of the error's type becomes the
/// [kind](Self::kind_name), what lay behind it the [chain](Self::chain). It implements no `Error` itself: that
/// conversion could not exist otherwise.
///
/// ```
/// # use gristmill_shared::KernelError;
/// fn parse(text: &str) -> Result<f64, KernelError> {
///     if text.is_empty() {
///         return Err(KernelError::fatal("the line is empty").kind("input"));
///     }
///     Ok(text.trim().parse()?)
/// }
/// assert!(parse("x").unwrap_err().kind_name().unwrap().ends_with("ParseFloatError"));
/// ```
///
/// What is no `Error` but holds one, such as `anyhow::Error`, `eyre::Report` and `Box<dyn Error>`, is lent to
/// [`KernelError::of`]:
///
/// ```
/// # use gristmill_shared::KernelError;
/// # fn load() -> Result<u8, Box<dyn std::error::Error + Send + Sync>> { Err("no model".into()) }
/// fn kernel() -> Result<u8, KernelError> {
///     Ok(load().map_err(|error| KernelError::of(&*error))?)
/// }
/// # assert_eq!(kernel().unwrap_err().to_string(), "no model");
/// ```
///
/// An error type of your own that should say more implements `From<MyError> for KernelError` instead of `Error`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KernelError {
    message: String,
    retry: Retry,
    // Most errors have none: a `Result` with this error stays small.
    more: Option<Box<More>>,
}

#[derive(Debug, Clone, PartialEq, Eq, Default)]
struct More {
    kind: Option<String>,
    chain: Vec<String>,
    place: Option<String>,
    details: Option<Vec<u8>>,
}

/// What a kernel says about another attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Retry {
    /// As the task's options say.
    #[default]
    AsConfigured,
    /// No attempt can succeed.
    Never,
    /// If an attempt is left, not before this time has passed.
    After(Duration),
}

impl KernelError {
    /// An error with a text; retried as the task's options say.
    pub fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), retry: Retry::AsConfigured, more: None }
    }

    /// An error that no retry can cure.
    pub fn fatal(message: impl Into<String>) -> Self {
        Self::new(message).retry_as(Retry::Never)
    }

    /// An error that should be tried again after `delay`, if an attempt is left.
    pub fn retry_after(message: impl Into<String>, delay: Duration) -> Self {
        Self::new(message).retry_as(Retry::After(delay))
    }

    /// What an error says, and all that lay behind it. For what holds an error without being one: `anyhow::Error`,
    /// `eyre::Report` and `Box<dyn Error>` lend it as `&*error`.
    pub fn of(error: &(dyn Error + 'static)) -> Self {
        let mut this = Self::new(error.to_string());
        let mut source = error.source();
        while let Some(cause) = source {
            this = this.because(cause.to_string());
            source = cause.source();
        }
        this
    }

    /// The same error, with another word about another attempt.
    #[must_use]
    pub fn retry_as(mut self, retry: Retry) -> Self {
        self.retry = retry;
        self
    }

    /// Says what sort of error it is, in a word that programs can compare: `io`, `input`, `exit`. At most 128 bytes.
    #[must_use]
    pub fn kind(mut self, kind: impl Into<String>) -> Self {
        self.more().kind = Some(kind.into());
        self
    }

    /// Adds what lay behind it, after the causes that it has. The first 8 are kept.
    #[must_use]
    pub fn because(mut self, cause: impl Into<String>) -> Self {
        if self.chain().len() < ERROR_CHAIN_MAX {
            self.more().chain.push(cause.into());
        }
        self
    }

    /// Says where it happened: `file:line:column`.
    #[must_use]
    pub fn at(mut self, place: impl Into<String>) -> Self {
        self.more().place = Some(place.into());
        self
    }

    /// Attaches one value that whoever reads the failure can have back, of at most 16 KiB as MessagePack. One that is
    /// larger or cannot be encoded is left out, and the chain says so.
    #[must_use]
    pub fn details<T: Serialize + ?Sized>(mut self, details: &T) -> Self {
        match codec::encode(details) {
            Ok(bytes) if bytes.len() <= ERROR_DETAILS_BYTES_MAX => {
                self.more().details = Some(bytes);
                self
            }
            Ok(bytes) => {
                let len = bytes.len();
                self.because(format!("its details are left out: {len} bytes, at most {ERROR_DETAILS_BYTES_MAX}"))
            }
            Err(error) => self.because(format!("its details are left out: {error}")),
        }
    }

    /// The message alone, without what lay behind it; `Display` shows both.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// What it says about another attempt.
    pub fn retry(&self) -> Retry {
        self.retry
    }

    /// What sort of error it is.
    pub fn kind_name(&self) -> Option<&str> {
        self.more.as_ref()?.kind.as_deref()
    }

    /// What lay behind it, outermost first.
    pub fn chain(&self) -> &[String] {
        self.more.as_ref().map_or(&[], |more| &more.chain)
    }

    /// Where it happened, if that is known.
    pub fn place(&self) -> Option<&str> {
        self.more.as_ref()?.place.as_deref()
    }

    /// The MessagePack of the attached value.
    pub fn details_bytes(&self) -> Option<&[u8]> {
        self.more.as_ref()?.details.as_deref()
    }

    fn more(&mut self) -> &mut More {
        self.more.get_or_insert_default()
    }
}

impl fmt::Display for KernelError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&failure::line(&self.message, self.chain(), self.place()))
    }
}

impl<E: Error> From<E> for KernelError {
    fn from(error: E) -> Self {
        let mut this = Self::new(error.to_string()).kind(std::any::type_name::<E>());
        let mut source = error.source();
        while let Some(cause) = source {
            this = this.because(cause.to_string());
            source = cause.source();
        }
        this
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("cannot load the model")]
    struct Load(#[source] std::io::Error);

    fn load() -> Load {
        Load(std::io::Error::other("disk on fire"))
    }

    #[test]
    fn an_error_keeps_its_type_and_what_lay_behind_it() {
        let error = KernelError::from(load());
        assert_eq!((error.message(), error.chain()), ("cannot load the model", &["disk on fire".to_owned()][..]));
        assert!(error.kind_name().unwrap().ends_with("::Load"), "{error:?}");
        assert_eq!(error.to_string(), "cannot load the model: disk on fire");
        assert_eq!(error.retry(), Retry::AsConfigured);
    }

    #[test]
    fn what_only_holds_an_error_can_be_lent() {
        let boxed: Box<dyn Error + Send + Sync> = load().into();
        let error = KernelError::of(&*boxed);
        assert_eq!((error.to_string().as_str(), error.kind_name()), ("cannot load the model: disk on fire", None));
    }

    #[test]
    fn details_that_are_too_large_are_left_out_and_said_to_be() {
        let error = KernelError::fatal("no").details(&"x".repeat(20_000));
        assert_eq!(error.details_bytes(), None);
        assert!(error.to_string().contains("left out: 20003 bytes, at most 16384"), "{error}");
        assert_eq!(KernelError::fatal("no").details(&5u8).details_bytes(), Some(&[5u8][..]));
    }

    #[test]
    fn a_result_with_it_stays_small() {
        assert!(size_of::<Result<Vec<u8>, KernelError>>() <= 56);
    }
}
