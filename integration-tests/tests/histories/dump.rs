//! Everything that stands in a namespace, read by one call.

use std::collections::BTreeMap;

use redis::aio::ConnectionLike;
use redis::{RedisResult, Value, from_redis_value};

/// Key, type, time to live and content of each key.
const DUMP: &str = "
local read = {
  list = function(key) return redis.call('LRANGE', key, 0, -1) end,
  hash = function(key) return redis.call('HGETALL', key) end,
  zset = function(key) return redis.call('ZRANGE', key, 0, -1, 'WITHSCORES') end,
  set = function(key) return redis.call('SMEMBERS', key) end,
  string = function() return {} end,
}
local all = {}
for i, key in ipairs(redis.call('KEYS', '{*')) do
  local kind = redis.call('TYPE', key).ok
  all[i] = { key, kind, redis.call('PTTL', key), read[kind](key) }
end
return all";

type Bytes = Vec<u8>;

#[derive(Default)]
pub struct Dump {
    prefix: String,
    ttls: BTreeMap<String, i64>,
    lists: BTreeMap<String, Vec<Bytes>>,
    hashes: BTreeMap<String, BTreeMap<String, Bytes>>,
    zsets: BTreeMap<String, Vec<(Bytes, f64)>>,
    sets: BTreeMap<String, Vec<Bytes>>,
    no_hash: BTreeMap<String, Bytes>,
}

impl Dump {
    pub async fn read<C: ConnectionLike>(conn: &mut C, prefix: &str) -> RedisResult<Self> {
        let all: Vec<(String, String, i64, Value)> = redis::cmd("EVAL").arg(DUMP).arg(0).query_async(conn).await?;
        let mut dump = Self { prefix: prefix.to_owned(), ..Self::default() };
        for (key, kind, ttl, value) in all {
            dump.ttls.insert(key.clone(), ttl);
            match kind.as_str() {
                "list" => _ = dump.lists.insert(key, from_redis_value(value)?),
                "hash" => _ = dump.hashes.insert(key, from_redis_value(value)?),
                "zset" => _ = dump.zsets.insert(key, from_redis_value(value)?),
                "set" => _ = dump.sets.insert(key, from_redis_value(value)?),
                _ => {}
            }
        }
        Ok(dump)
    }

    /// The whole name of a key.
    pub fn full(&self, name: &str) -> String {
        format!("{}{name}", self.prefix)
    }

    pub fn has(&self, key: &str) -> bool {
        self.ttls.contains_key(key)
    }

    /// All keys without the prefix, and their times to live, ms; -1: none.
    pub fn keys(&self) -> impl Iterator<Item = (&str, i64)> {
        self.ttls.iter().map(|(key, ttl)| (key.strip_prefix(&self.prefix).unwrap_or(key), *ttl))
    }

    /// Names, without the prefix, that begin so.
    pub fn names<'a>(&'a self, with: &str) -> impl Iterator<Item = &'a str> {
        self.keys().map(|(name, _)| name).filter(move |name| name.starts_with(with))
    }

    pub fn list(&self, key: &str) -> &[Bytes] {
        self.lists.get(key).map_or(&[], Vec::as_slice)
    }

    pub fn hash(&self, key: &str) -> &BTreeMap<String, Bytes> {
        self.hashes.get(key).unwrap_or(&self.no_hash)
    }

    pub fn zset(&self, key: &str) -> &[(Bytes, f64)] {
        self.zsets.get(key).map_or(&[], Vec::as_slice)
    }

    pub fn set(&self, key: &str) -> &[Bytes] {
        self.sets.get(key).map_or(&[], Vec::as_slice)
    }
}
