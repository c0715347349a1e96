//! Why a consumer leaves.

/// Why a consumer leaves on purpose. Set before it goes; a death under a mark is ordered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Leaving {
    /// It does not leave.
    None = 0,
    /// The worker drains.
    Drain = 1,
    /// It makes room for a fresh process.
    Recycle = 2,
    /// Its task was cancelled and did not stop by itself.
    Cancelled = 3,
    /// Somebody else holds its messages now.
    LeaseLost = 4,
    /// Its task passed its time limit; the I/O thread has settled that.
    TimeLimit = 5,
    /// It never got as far as holding a lease: Redis cannot be reached, or will not do.
    NoRedis = 6,
    /// The supervisor is gone.
    Orphaned = 7,
    /// What its worker makes in each consumer could not be made.
    InitFailed = 8,
}

impl Leaving {
    pub(super) const ALL: [Leaving; 9] = [
        Self::None,
        Self::Drain,
        Self::Recycle,
        Self::Cancelled,
        Self::LeaseLost,
        Self::TimeLimit,
        Self::NoRedis,
        Self::Orphaned,
        Self::InitFailed,
    ];

    /// Reads the stored form.
    pub(super) fn from_code(code: u8) -> Self {
        Self::ALL.get(usize::from(code)).copied().unwrap_or(Self::None)
    }

    /// The word for logs and the worker record.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Drain => "drain",
            Self::Recycle => "recycle",
            Self::Cancelled => "cancelled",
            Self::LeaseLost => "lease_lost",
            Self::TimeLimit => "time_limit",
            Self::NoRedis => "no_redis",
            Self::Orphaned => "orphaned",
            Self::InitFailed => "init_failed",
        }
    }
}
