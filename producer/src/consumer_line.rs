//! What a worker publishes of one of its consumers: one line of text (`consumer.<n>` of its record).

use crate::inspect::WorkerRecord;

/// What a worker publishes of one of its consumers, read. What a worker of another version leaves out is left out here,
/// too.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ConsumerLine {
    /// Its place within the worker, from 0.
    pub place: u32,
    /// Its id.
    pub id: String,
    /// `starting`, `idle`, `running` or `ending`.
    pub state: String,
    /// Names and values of the rest, in their order.
    fields: Vec<(String, String)>,
}

impl ConsumerLine {
    /// With this begin the names of those fields of a worker's record that hold one consumer each.
    pub const FIELD: &str = "consumer.";

    /// All consumers of a worker, by place.
    pub fn all(worker: &WorkerRecord) -> Vec<Self> {
        let read =
            |(name, line): (&String, &String)| Some(Self::read(name.strip_prefix(Self::FIELD)?.parse().ok()?, line));
        let mut lines: Vec<_> = worker.fields.iter().filter_map(read).collect();
        lines.sort_by_key(|line| line.place);
        lines
    }

    fn read(place: u32, line: &str) -> Self {
        let (id, rest) = line.split_once(' ').unwrap_or((line, ""));
        let (state, rest) = rest.split_once(' ').unwrap_or((rest, ""));
        let mut fields = Vec::new();
        let mut rest = rest.trim_start();
        while let Some((name, text)) = rest.split_once('=') {
            // A note may hold anything, and therefore stands last.
            let (value, behind) =
                if name == "progress" { (text, "") } else { text.split_once(' ').unwrap_or((text, "")) };
            fields.push((name.to_owned(), value.to_owned()));
            rest = behind.trim_start();
        }
        Self { place, id: id.to_owned(), state: state.to_owned(), fields }
    }

    /// What the line says besides, in its order.
    pub fn fields(&self) -> impl Iterator<Item = (&str, &str)> {
        self.fields.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// The value of that name.
    pub fn text(&self, name: &str) -> Option<&str> {
        self.fields.iter().find(|(field, _)| field == name).map(|(_, value)| value.as_str())
    }

    /// The same where it is a number.
    pub fn number(&self, name: &str) -> Option<u64> {
        self.text(name)?.parse().ok()
    }

    /// How far its task is, from 0 to 1, as it says.
    pub fn fraction(&self) -> Option<f64> {
        self.text("fraction")?.parse().ok()
    }

    /// How far its task is and what it does, in one line; none if it says neither.
    pub fn progress(&self) -> Option<String> {
        let percent = self.fraction().map(|fraction| format!("{:.0}%", 100.0 * fraction));
        match (percent, self.text("progress")) {
            (Some(percent), Some(note)) => Some(format!("{percent} {note}")),
            (percent, note) => percent.or_else(|| note.map(str::to_owned)),
        }
    }

    /// Whether a task runs in it.
    pub fn is_running(&self) -> bool {
        self.state == "running"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_part_of_a_line_is_read() {
        let line = ConsumerLine::read(2, "c1 running pid=7 task=b.3 kernel=x run_ms=12 progress=at 3 of 4, k=v");
        assert_eq!((line.place, line.id.as_str(), line.is_running()), (2, "c1", true));
        assert_eq!((line.number("pid"), line.text("task"), line.number("run_ms")), (Some(7), Some("b.3"), Some(12)));
        assert_eq!((line.text("progress"), line.text("k")), (Some("at 3 of 4, k=v"), None));
    }

    #[test]
    fn how_far_a_task_is_stands_before_its_note() {
        let told = |text: &str| ConsumerLine::read(0, &format!("c1 running {text}")).progress();
        assert_eq!(told("fraction=0.4250 progress=row 7 fraction=1").as_deref(), Some("42% row 7 fraction=1"));
        assert_eq!(told("fraction=1.0000").as_deref(), Some("100%"));
        assert_eq!((told("progress=row 7").as_deref(), told("run_ms=7")), (Some("row 7"), None));
    }

    #[test]
    fn a_line_of_another_version_is_read_as_far_as_it_goes() {
        for text in ["", "c1", "c1 idle", "c1 idle what", "c1 idle pid=", "=", " = ="] {
            let line = ConsumerLine::read(0, text);
            assert_eq!((line.is_running(), line.number("pid")), (false, None), "{text:?}");
        }
    }

    #[test]
    fn consumers_come_in_order() {
        let fields =
            [("consumer.10", "b idle"), ("consumers", "11"), ("consumer.2", "a idle"), ("consumer.x", "c idle")];
        let fields = fields.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
        let found = ConsumerLine::all(&WorkerRecord { id: "w".into(), fields });
        assert_eq!(found.iter().map(|line| line.id.as_str()).collect::<Vec<_>>(), ["a", "b"]);
    }
}
