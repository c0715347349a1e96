//! The property has teeth: with any one rule taken out of any one script, some history breaks a promise.

use gristmill_broker::script::Source;
use gristmill_shared::Lane;

use crate::ops::{BatchPlan, Due, Fate, History, Life, Op, Reply, Which, Who};
use crate::runs::{Plan, play_one};
use crate::say;

/// Histories within which a mutant must be found.
const WITHIN: u64 = 1_000;

/// A rule taken out of a script.
struct Mutant {
    script: &'static str,
    what: &'static str,
    /// Texts and what stands there instead.
    edits: &'static [(&'static str, &'static str)],
}

const fn mutant(script: &'static str, what: &'static str, edits: &'static [(&'static str, &'static str)]) -> Mutant {
    Mutant { script, what, edits }
}

const NO_FENCE: &[(&str, &str)] = &[(
    "if not redis.call('ZSCORE', leases_key, consumer) then return 'LOST' end",
    // Else the script would fail for want of the consumer's hash.
    "if consumer then return 'RUN', tonumber(redis.call('HGET', consumer_key, 'settled') or 0) end",
)];
const RUNS_TWICE: &[(&str, &str)] =
    &[("if stored == op then return 'REPLAY', settled end", "if stored == op then return 'RUN', settled end")];
const ANY_OP: &[(&str, &str)] = &[("  return 'LOST'\nend", "  return stored and 'RUN' or 'LOST', settled\nend")];

const NO_BUDGET: &[(&str, &str)] = &[("local over = b.bytes_max and", "local over = false and")];

/// At least the fence of each script that has one.
const MUTANTS: &[Mutant] = &[
    mutant(
        "enqueue",
        "no sequence numbers",
        &[
            ("if seq < next_seq then return { 'DUPLICATE', next_seq } end", ""),
            ("if seq > next_seq then return { 'GAP', next_seq } end", ""),
            ("if first ~= tasks + added then", "if false then"),
        ],
    ),
    mutant("enqueue", "appends to a sealed batch", &[("if state and state ~= 'open' then", "if false then")]),
    mutant(
        "join",
        "ids are reused",
        &[("return 'USED' end\nend", "end\nend"), ("> 0 then return 'USED' end", "> 0 then end")],
    ),
    mutant("leave", "no fence", &[("then return 'LOST' end", "then end")]),
    mutant("leave", "messages in flight", &[("then return 'INFLIGHT' end", "then end")]),
    mutant("claim", "no fence", NO_FENCE),
    mutant("claim", "a repeated call runs again", RUNS_TWICE),
    mutant("claim", "any op", ANY_OP),
    mutant("settle", "no fence", NO_FENCE),
    mutant("settle", "a repeated call runs again", RUNS_TWICE),
    mutant("settle", "any op", ANY_OP),
    mutant("settle", "no budget of results", NO_BUDGET),
    mutant("judge", "no budget of results", NO_BUDGET),
    mutant("forget", "makes no room", &[("if freed > 0 then", "if false then")]),
    mutant("release", "no fence", NO_FENCE),
    mutant("release", "a repeated call runs again", RUNS_TWICE),
    mutant("release", "any op", ANY_OP),
    mutant("renew", "no fence", &[("then return { 'LOST' } end", "then end")]),
    mutant("reclaim", "no look at the deadline", &[("then return { 'NOT_EXPIRED' } end", "then end")]),
    mutant("reclaim", "no look at the grace", &[("or now <= grace", "")]),
    mutant("reclaim", "no look at the lease", &[("if not deadline then return { 'GONE' } end", "")]),
    mutant("reclaim", "blames the head", &[("at == position", "i == 1")]),
    mutant(
        "judge",
        "removes no suspect",
        &[
            (
                "local suspect = redis.call('HGET', KEYS[2], ARGV[1])",
                "local suspect = redis.call('HGET', KEYS[2], ARGV[1]) or redis.call('HGET', 'test-grave', ARGV[1])
        if suspect then redis.call('HSET', 'test-grave', ARGV[1], suspect) end",
            ),
            (
                "if redis.call('HDEL', KEYS[2], ARGV[1]) ~= 1 then return { 'GONE' } end",
                "redis.call('HDEL', KEYS[2], ARGV[1])",
            ),
        ],
    ),
    mutant("promote", "no look at the time", &[("int(now), 'LIMIT'", "'+inf', 'LIMIT'")]),
    mutant("tick", "no grace", &[("grace = now + math.floor(lease_ms / 2)", "grace = 0")]),
    mutant("sweep", "no look at the time", &[("if now >= life_ends then", "if finished then")]),
    mutant("purge", "removes what nobody saw", &[("if messages[i] ~= ARGV[1 + i] then", "if false then")]),
    mutant(
        "cancel",
        "a finished batch",
        &[("if state == 'finished' and outcomes_of(KEYS[2]) >= tonumber(total) then return { 'FINISHED' } end", "")],
    ),
    mutant("touch", "creates a batch", &[("  if state then\n", "  if true then\n")]),
    mutant(
        "revive",
        "keeps the cancel mark",
        &[
            ("redis.call('HSET', KEYS[5], id, table.concat(others, ','))", "redis.call('HLEN', KEYS[5])"),
            ("redis.call('HDEL', KEYS[5], id)", "redis.call('HLEN', KEYS[5])"),
        ],
    ),
    mutant(
        "revive",
        "lifts a mark that others need",
        &[("if state and (state ~= 'finished' or outcomes_of(batch_key) < tonumber(total)) then", "if false then")],
    ),
    mutant(
        "revive",
        "no look at the letter",
        &[
            ("if not letter or #letter < 8 or u64(letter, 1) ~= tonumber(ARGV[10]) then return { 'GONE' } end", ""),
            ("if recreated and u64(letter, 1) < tonumber(created) then counted = false end", ""),
        ],
    ),
];

/// Rules that are needed so rarely that the history stands here.
fn rare() -> [(Mutant, Vec<Op>); 3] {
    let (who, reply) = (Who::Slot(0), Reply::Arrives);
    let send = Op::Send { batch: 0, which: Which::Next, reply };
    let claim = || Op::Claim { who, messages: 1, reply };
    let settle = |fate| Op::Settle { who, take: 1, fates: vec![fate], messages: 0, reply };
    let after_a_rollback = vec![
        send.clone(),
        claim(),
        Op::Snapshot,
        Op::Calm { ticks: 6 },
        Op::ReadSuspect { pick: 0 },
        Op::Rollback,
        Op::Calm { ticks: 6 },
        Op::Judge { pick: 0, readable: true, jitter: 0, reply },
    ];
    let another_death = || {
        vec![
            send.clone(),
            claim(),
            settle(Fate::Fails),
            Op::ReadLetter { queue: 0, pick: 0 },
            Op::Revive { pick: 0, reply },
            claim(),
            settle(Fate::TimesOut),
        ]
    };
    let after_another_death = |op| [another_death(), vec![op]].concat();
    let suspect = mutant("judge", "takes a suspect for another", &[(" or u64(suspect, 1) ~= tonumber(ARGV[2])", "")]);
    let letter = mutant("revive", "takes a letter for another", &[(" or u64(letter, 1) ~= tonumber(ARGV[10])", "")]);
    let unseen = mutant("discard", "drops what nobody saw", &[("and tonumber(at) == tonumber(ARGV[i + 1])", "")]);
    [
        (suspect, after_a_rollback),
        (letter, after_another_death(Op::Revive { pick: 0, reply })),
        (unseen, after_another_death(Op::Discard { pick: 0, reply })),
    ]
}

/// A history of one batch of one task.
fn history(ops: Vec<Op>) -> History {
    let (queue, lane, calls) = (0, Lane::Normal, vec![vec![1]]);
    let (single, strange, blob, worn, frugal) = (false, false, false, false, false);
    let plan = BatchPlan { queue, lane, calls, single, strange, blob, worn, frugal, due: Due::Now, life: Life::Long };
    History { batches: vec![plan], ops }
}

impl Mutant {
    fn text(&self, source: &Source) -> String {
        let text = source.text();
        if source.name != self.script {
            return text;
        }
        self.edits.iter().fold(text, |text, (from, to)| {
            assert!(text.contains(from), "{}: the rule is not written as {from:?} any more", self.script);
            text.replace(from, to)
        })
    }
}

#[test]
fn every_rule_is_needed() {
    let mut survivors = Vec::new();
    for mutant in MUTANTS {
        let name = format!("{}: {}", mutant.script, mutant.what);
        match Plan::for_mutants(WITHIN).run(|source| mutant.text(source)) {
            Ok(_) => survivors.push(name),
            Err(failure) => say(&format!("{name}: found by history {}: {}", failure.number, failure.why)),
        }
    }
    assert!(survivors.is_empty(), "nobody noticed: {survivors:#?}");
}

/// Where nothing else stands behind a rule, Redis itself shows that it is missing, whatever the scripts answer.
/// (Behind the fences of claim, settle and release stands the check that an ending covers its messages exactly.)
#[test]
fn what_redis_holds_tells_too() {
    const RULES: [(&str, &str); 5] = [
        ("enqueue", "no sequence numbers"),
        ("leave", "messages in flight"),
        ("renew", "no fence"),
        ("judge", "removes no suspect"),
        ("touch", "creates a batch"),
    ];
    for (script, what) in RULES {
        let mutant = MUTANTS.iter().find(|mutant| mutant.script == script && mutant.what == what).unwrap();
        let failure = Plan::for_mutants(WITHIN).blind().run(|source| mutant.text(source)).unwrap_err();
        say(&format!("{script}: {what}: seen in Redis after history {}: {}", failure.number, failure.why));
    }
}

#[test]
fn rules_for_rare_histories_are_needed() {
    for (mutant, ops) in rare() {
        let history = history(ops);
        play_one(|source| source.text(), &history).unwrap();
        let broken = play_one(|source| mutant.text(source), &history).unwrap_err();
        say(&format!("{}: {}: {}", mutant.script, mutant.what, broken.0));
    }
}

#[test]
fn a_failing_history_shrinks() {
    let without_fence = &MUTANTS.iter().find(|mutant| mutant.script == "settle").unwrap();
    let plan = Plan::for_mutants(WITHIN).shrinking();
    let failure = plan.run(|source| without_fence.text(source)).unwrap_err();
    say(&format!("shrunk: {failure}"));
    assert!(failure.smallest.ops.len() <= 6, "{failure}");
}
