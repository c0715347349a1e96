//! What a kernel is: a named, typed function that computes.

use std::time::Duration;

use schemars::JsonSchema;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::codec;
use crate::context::TaskContext;
pub use crate::kernel_error::{KernelError, Retry};
use crate::names::KernelName;

/// The signature of a kernel: all that a producer needs to call it.
///
/// `#[kernel]` implements it on a unit struct of the function's name, `remote_kernel!` for a kernel
/// whose body lives in somebody else's worker.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a kernel",
    note = "put #[kernel] on the function, or declare another worker's kernel with remote_kernel! {{ … }}"
)]
pub trait Kernel: Copy + Send + Sync + 'static {
    /// The name under which workers offer it.
    const NAME: &'static str;
    /// What it takes: the sole parameter's type, a tuple of several, `()` of none.
    type Args: Serialize + DeserializeOwned + JsonSchema + Send + 'static;
    /// What it returns on success.
    type Output: Serialize + DeserializeOwned + Send + 'static;
}

/// A kernel with its body: what a worker needs.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a kernel with a body",
    note = "put #[kernel] on the function; what remote_kernel! declares has its body in another worker"
)]
pub trait Run: Kernel {
    /// The first paragraphs of its doc comment.
    const DOC: &'static str;
    /// What it declares for all its tasks.
    const OPTIONS: KernelOptions;
    /// Its parameters without the context, in their order.
    const PARAMETERS: &'static [Parameter] = &[];

    /// Computes one task.
    fn run(context: &TaskContext, args: Self::Args) -> Result<Self::Output, KernelError>;
}

/// What is said of one parameter of a kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Parameter {
    /// Its name; empty if it has none.
    pub name: &'static str,
    /// Its doc comment.
    pub doc: &'static str,
}

/// What a kernel declares for all its tasks; a task's own options come first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct KernelOptions {
    /// Attempts after the first that fails.
    pub retries: Option<u16>,
    /// First back-off.
    pub backoff: Option<Duration>,
    /// Longest back-off.
    pub backoff_max: Option<Duration>,
    /// After this time a task is asked to end.
    pub soft_time_limit: Option<Duration>,
    /// The process ends when a task runs longer than this.
    pub time_limit: Option<Duration>,
    /// The memory that a task may need, bytes.
    pub memory: Option<u64>,
    /// Whether outputs are dropped where they were computed.
    pub ignore_result: Option<bool>,
}

/// Binary data: one MessagePack byte string, where a `Vec<u8>` would be an array of integers.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Bytes(#[serde(with = "serde_bytes")] pub Vec<u8>);

impl From<Vec<u8>> for Bytes {
    fn from(bytes: Vec<u8>) -> Self {
        Self(bytes)
    }
}

impl std::ops::Deref for Bytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}

impl JsonSchema for Bytes {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Bytes".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "type": "object",
            "properties": { "$bytes": { "type": "string", "contentEncoding": "base64" } },
            "required": ["$bytes"],
        })
    }
}

/// A kernel without its types, as a worker's table holds it.
#[derive(Clone, Copy)]
pub struct RegisteredKernel {
    /// Its name.
    pub name: &'static str,
    /// Its doc comment.
    pub doc: &'static str,
    /// What it declares.
    pub options: KernelOptions,
    /// JSON schema of its arguments.
    pub args_schema: fn() -> serde_json::Value,
    /// Decodes the arguments, computes, encodes the output: MessagePack to MessagePack.
    pub run: fn(&TaskContext, &[u8]) -> Result<Vec<u8>, KernelError>,
}

impl RegisteredKernel {
    /// The entry for one kernel.
    pub fn of<K: Run>(_: K) -> Self {
        Self { name: K::NAME, doc: K::DOC, options: K::OPTIONS, args_schema: schema::<K>, run: run::<K> }
    }
}

fn schema<K: Run>() -> serde_json::Value {
    let mut schema = schemars::schema_for!(K::Args).into();
    match K::PARAMETERS {
        [sole] => sole.describe(&mut schema),
        several => {
            let items = schema.get_mut("prefixItems").and_then(serde_json::Value::as_array_mut);
            for (item, parameter) in items.into_iter().flatten().zip(several) {
                parameter.describe(item);
            }
        }
    }
    schema
}

impl Parameter {
    /// Puts name and doc into the schema of its type, in place of what is said of the type.
    fn describe(&self, schema: &mut serde_json::Value) {
        if schema.as_bool() == Some(true) {
            *schema = serde_json::json!({});
        }
        let Some(fields) = schema.as_object_mut() else { return };
        for (field, text) in [("title", self.name), ("description", self.doc)] {
            if !text.is_empty() {
                fields.insert(field.to_owned(), text.into());
            }
        }
    }
}

fn run<K: Run>(context: &TaskContext, args: &[u8]) -> Result<Vec<u8>, KernelError> {
    let args: K::Args = codec::decode(args)
        .map_err(|error| KernelError::fatal(format!("arguments of {} do not fit: {error}", K::NAME)))?;
    let output = K::run(context, args)?;
    codec::encode(&output).map_err(|error| KernelError::fatal(format!("output of {}: {error}", K::NAME)))
}

/// The kernels of one worker binary; made by `kernels![…]`.
#[derive(Clone, Default)]
pub struct Kernels(Vec<RegisteredKernel>);

/// Two kernels of one worker have the same name, or a name breaks the rule.
#[derive(Debug, thiserror::Error)]
pub enum KernelsError {
    /// A name occurs twice.
    #[error("two kernels are called {0:?}: give one of them another name with #[kernel(name = \"…\")]")]
    Duplicate(&'static str),
    /// A name cannot be part of a key.
    #[error(transparent)]
    Name(#[from] crate::names::NameError),
    /// No kernel at all.
    #[error("no kernels are registered: pass them with kernels![…]")]
    Empty,
}

impl Kernels {
    /// A table of the given kernels.
    pub fn new(kernels: Vec<RegisteredKernel>) -> Self {
        Self(kernels)
    }

    /// The same table with those of `more` behind it.
    #[must_use]
    pub fn and(mut self, more: Kernels) -> Self {
        self.0.extend(more.0);
        self
    }

    /// Checks what only shows when the table is complete.
    pub fn check(&self) -> Result<(), KernelsError> {
        if self.0.is_empty() {
            return Err(KernelsError::Empty);
        }
        for (i, kernel) in self.0.iter().enumerate() {
            KernelName::new(kernel.name)?;
            if self.0[..i].iter().any(|other| other.name == kernel.name) {
                return Err(KernelsError::Duplicate(kernel.name));
            }
        }
        Ok(())
    }

    /// The kernel of that name.
    pub fn get(&self, name: &str) -> Option<&RegisteredKernel> {
        self.0.iter().find(|kernel| kernel.name == name)
    }

    /// All kernels, in the order of registration.
    pub fn iter(&self) -> impl Iterator<Item = &RegisteredKernel> {
        self.0.iter()
    }
}
