//! The scripts: their sources, put together from their parts.

use redis::Script;

/// Where a script's source comes from.
#[derive(Debug, Clone, Copy)]
pub struct Source {
    /// Its name: the file is `scripts/<name>.lua`.
    pub name: &'static str,
    /// The parts that it uses, in order, then the script itself.
    pub texts: &'static [&'static str],
}

impl Source {
    /// The whole source, as Redis gets it.
    pub fn text(&self) -> String {
        self.texts.concat()
    }
}

macro_rules! scripts {
    ($($name:ident: $($part:literal)*;)*) => {
        /// Every script, ready to be called.
        pub struct Scripts {
            $(pub(crate) $name: Script,)*
        }

        impl Scripts {
            /// The scripts as they stand in `scripts/`.
            pub fn new() -> Self {
                Self::edited(|source| source.text())
            }

            /// The scripts as `edit` changes them: for tests which show that a rule is needed.
            pub fn edited(edit: impl Fn(&Source) -> String) -> Self {
                let mut sources = SOURCES.iter();
                let mut next = || Script::new(&sources.next().map(&edit).unwrap_or_default());
                Self { $($name: next(),)* }
            }
        }

        /// The sources of all scripts, in the order of the fields.
        pub const SOURCES: &[Source] = &[$(Source {
            name: stringify!($name),
            texts: &[
                $(include_str!(concat!("scripts/parts/", $part, ".lua")),)*
                include_str!(concat!("scripts/", stringify!($name), ".lua")),
            ],
        }),*];
    };
}

scripts! {
    enqueue: "message" "queues" "finish";
    join: "message";
    leave: "message";
    claim: "message" "queues" "fence" "take";
    settle: "message" "queues" "fence" "finish" "ending" "take";
    release: "message" "queues" "fence";
    renew: "message";
    touch: "message";
    reclaim: "message" "queues" "fence";
    judge: "message" "queues" "finish" "ending";
    promote: "message" "queues";
    tick: "message" "queues";
    sweep: "message" "finish";
    forget: "message" "finish";
    purge: "message" "queues" "finish" "ending";
    cancel: "message" "finish";
    hasten: "message";
    revive: "message" "queues" "finish";
    discard: "message" "queues";
    manage: "message" "queues";
    weed: "message" "queues";
}

impl Default for Scripts {
    fn default() -> Self {
        Self::new()
    }
}
