//! How a client comes into being.

use std::collections::BTreeMap;
use std::time::Duration;

use gristmill_shared::connection::{Endpoint, Timeouts};
use gristmill_shared::{Kernel, KernelName, Namespace, QueueName, defaults};

use crate::client::Client;
use crate::error::ClientError;
use crate::options::SubmitOptions;

/// How long a call is repeated after a connection was lost.
const PATIENCE: Duration = Duration::from_secs(60);

/// What a client is made of. `Client::builder().endpoint("redis://…").connect().await`.
#[derive(Debug, Clone)]
pub struct ClientBuilder {
    pub(crate) url: String,
    pub(crate) namespace: String,
    pub(crate) queue: String,
    pub(crate) reach: Duration,
    pub(crate) patience: Duration,
    pub(crate) timeouts: Timeouts,
    pub(crate) options: SubmitOptions,
    /// By the name of the kernel.
    pub(crate) kernels: BTreeMap<String, SubmitOptions>,
}

impl Default for ClientBuilder {
    fn default() -> Self {
        Self {
            url: defaults::REDIS_URL.into(),
            namespace: defaults::NAMESPACE.into(),
            queue: defaults::QUEUE.into(),
            reach: defaults::CLI_REACH,
            patience: PATIENCE,
            timeouts: Timeouts::default(),
            options: SubmitOptions::default(),
            kernels: BTreeMap::new(),
        }
    }
}

impl ClientBuilder {
    /// Where Redis is: `redis://[user:password@]host[:port][/db]`, `redis+unix:///path`, or
    /// `redis+sentinel://[user:password@]host1,host2/service[/db]`, where sentinels tell which server is the master.
    #[must_use]
    pub fn endpoint(mut self, url: impl Into<String>) -> Self {
        self.url = url.into();
        self
    }

    /// The namespace of the deployment (default `gm`).
    #[must_use]
    pub fn namespace(mut self, namespace: impl Into<String>) -> Self {
        self.namespace = namespace.into();
        self
    }

    /// The queue of submissions that name none (default `default`).
    #[must_use]
    pub fn queue(mut self, queue: impl Into<String>) -> Self {
        self.queue = queue.into();
        self
    }

    /// How long to try for a first connection (default 5 s).
    #[must_use]
    pub fn reach(mut self, reach: Duration) -> Self {
        self.reach = reach;
        self
    }

    /// How long a call is repeated after a connection was lost (default 60 s).
    #[must_use]
    pub fn patience(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }

    /// How long to wait for one connection, and for one answer.
    #[must_use]
    pub fn timeouts(mut self, timeouts: Timeouts) -> Self {
        self.timeouts = timeouts;
        self
    }

    /// Options of all submissions, where they, the client that [`Client::with`] gives, or
    /// [`kernel_defaults`](Self::kernel_defaults) say nothing else. An idempotency key is refused, and shared input is
    /// uploaded anew for each submission.
    #[must_use]
    pub fn defaults(mut self, options: SubmitOptions) -> Self {
        self.options = options;
        self
    }

    /// Options of all submissions to one kernel, also of those that only name it, where they, or the client that
    /// [`Client::with`] gives, say nothing else. They come before [`defaults`](Self::defaults), and before what the kernel
    /// itself declares. Of two calls for one kernel, the last holds.
    ///
    /// ```no_run
    /// # async fn example() -> Result<(), gristmill::ClientError> {
    /// # gristmill::remote_kernel! { fn render(scene: String) -> Vec<u8> = "render"; }
    /// use gristmill::{Client, QueueName, SubmitOptions};
    ///
    /// let slow = SubmitOptions::new().queue(QueueName::new("graphics")?).retries(2).label("team", "film");
    /// let client = Client::builder().kernel_defaults(render, slow).connect().await?;
    /// client.submit(render, "a hill".into()).await?;
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn kernel_defaults<K: Kernel>(mut self, _kernel: K, options: SubmitOptions) -> Self {
        self.kernels.insert(K::NAME.to_owned(), options);
        self
    }

    /// Connects, and sees that this Redis will do.
    pub async fn connect(self) -> Result<Client, ClientError> {
        let endpoint = Endpoint::parse(&self.url)?;
        let namespace = Namespace::new(&*self.namespace)?;
        let queue = QueueName::new(&*self.queue)?;
        check(&self.options, "all submissions")?;
        for (kernel, options) in &self.kernels {
            check(options, &format!("all submissions to {}", KernelName::new(kernel.as_str())?))?;
        }
        Client::start(self, endpoint, namespace, queue).await
    }
}

/// Whether these can be the options of so many submissions.
fn check(options: &SubmitOptions, of: &str) -> Result<(), ClientError> {
    options.check()?;
    options.check_bound(of)
}
