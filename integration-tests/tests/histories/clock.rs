//! A clock of the test's own: scripts ask Redis for the time, which nobody can set. Here they read a key.
//!
//! Each look moves it by 1 ms, so that no two events share an instant. Everything in a history that is
//! compared with the clock is half a second off the grid on which the clock is moved, so that those
//! milliseconds never decide anything.

use gristmill_broker::script::{Scripts, Source};
use redis::Script;
use redis::aio::ConnectionLike;

/// The clock is moved by multiples of this.
pub const GRID_MS: u64 = 2_000;

/// The scripts, edited by `edit`, on this clock. Times to live, which Redis counts down by its own clock, are
/// set relative to this one, and [`Clock::pass`] shortens them.
pub fn scripts(edit: impl Fn(&Source) -> String) -> Scripts {
    const EXPIRE_AT: &str = "local function expire_at(key, at)
  return redis.call('PEXPIRE', key, string.format('%.0f', at - redis.call('GET', 'test-clock')))
end
";
    Scripts::edited(|source| {
        let text = edit(source);
        let on_clock = text
            .replace("redis.call('TIME')", "{ '0', redis.call('INCR', 'test-clock') .. '000' }")
            .replace("redis.call('PEXPIREAT', ", "expire_at(");
        EXPIRE_AT.to_owned() + &on_clock
    })
}

/// The clock's commands, and the copies that a rollback goes back to.
pub struct Clock {
    set: Script,
    pass: Script,
    snapshot: Script,
    rollback: Script,
}

impl Clock {
    pub fn new() -> Self {
        Self {
            set: Script::new("redis.call('FLUSHDB') redis.call('SET', 'test-clock', ARGV[1])"),
            pass: Script::new(
                "redis.call('INCRBY', 'test-clock', ARGV[1])
                for _, key in ipairs(redis.call('KEYS', '*')) do
                  local ttl = redis.call('PTTL', key)
                  if ttl >= 0 then redis.call('PEXPIRE', key, string.format('%.0f', ttl - ARGV[1])) end
                end",
            ),
            snapshot: Script::new(
                "for _, key in ipairs(redis.call('KEYS', '*')) do
                  if string.sub(key, 1, 10) == 'test-copy:' then redis.call('DEL', key) end
                end
                for _, key in ipairs(redis.call('KEYS', '{*')) do redis.call('COPY', key, 'test-copy:' .. key) end",
            ),
            rollback: Script::new(
                "for _, key in ipairs(redis.call('KEYS', '{*')) do redis.call('DEL', key) end
                for _, key in ipairs(redis.call('KEYS', 'test-copy:*')) do
                  redis.call('RENAME', key, string.sub(key, 11))
                end",
            ),
        }
    }

    /// Empties the database and sets the clock.
    pub async fn start<C: ConnectionLike>(&self, conn: &mut C, now_ms: u64) -> redis::RedisResult<()> {
        self.set.arg(now_ms).invoke_async(conn).await
    }

    /// Lets time pass, as it does when nobody calls.
    pub async fn pass<C: ConnectionLike>(&self, conn: &mut C, ms: u64) -> redis::RedisResult<()> {
        self.pass.arg(ms).invoke_async(conn).await
    }

    /// Remembers everything as it is now.
    pub async fn snapshot<C: ConnectionLike>(&self, conn: &mut C) -> redis::RedisResult<()> {
        self.snapshot.prepare_invoke().invoke_async(conn).await
    }

    /// Brings back what was remembered, but not its time.
    pub async fn rollback<C: ConnectionLike>(&self, conn: &mut C) -> redis::RedisResult<()> {
        self.rollback.prepare_invoke().invoke_async(conn).await
    }
}
