//! The 21 rules that make every known driver usable, by name.

use std::fmt;

use serde::{Serialize, Serializer};

/// What a host must put up with, most harmful first. Readers report the rules that an answer needed; the rules that are
/// about the host rather than about reading are named here too, so that every warning uses the same words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Rule {
    /// Rule 1.
    TextAroundReply,
    /// Rule 2.
    ReplyOnStderr,
    /// Rule 3.
    SeveralReplies,
    /// Rule 4.
    UnknownVerb,
    /// Rule 5.
    ExitDisagrees,
    /// Rule 6.
    StatusWord,
    /// Rule 7.
    CapabilitiesMissing,
    /// Rule 8.
    NotIdempotent,
    /// Rule 9.
    SuccessDoubted,
    /// Rule 10.
    PipeHeld,
    /// Rule 11.
    Deadline,
    /// Rule 12.
    KeysAndTypes,
    /// Rule 13.
    BrokenJson,
    /// Rule 14.
    OptionQuoting,
    /// Rule 15.
    ArgumentShapes,
    /// Rule 16.
    OptionKeysRefused,
    /// Rule 17.
    PathAssumptions,
    /// Rule 18.
    StrayFiles,
    /// Rule 19.
    Environment,
    /// Rule 20.
    Concurrency,
    /// Rule 21.
    InitSideEffects,
}

impl Rule {
    /// All of them, in order.
    pub const ALL: [Rule; 21] = [
        Rule::TextAroundReply,
        Rule::ReplyOnStderr,
        Rule::SeveralReplies,
        Rule::UnknownVerb,
        Rule::ExitDisagrees,
        Rule::StatusWord,
        Rule::CapabilitiesMissing,
        Rule::NotIdempotent,
        Rule::SuccessDoubted,
        Rule::PipeHeld,
        Rule::Deadline,
        Rule::KeysAndTypes,
        Rule::BrokenJson,
        Rule::OptionQuoting,
        Rule::ArgumentShapes,
        Rule::OptionKeysRefused,
        Rule::PathAssumptions,
        Rule::StrayFiles,
        Rule::Environment,
        Rule::Concurrency,
        Rule::InitSideEffects,
    ];

    /// Its number, 1 to 21.
    #[must_use]
    pub fn number(self) -> u8 {
        self as u8 + 1
    }

    /// Its name, for a warning.
    #[must_use]
    pub fn name(self) -> &'static str {
        let [name, _] = WORDS[self as usize];
        name
    }

    /// What the host does, in one sentence.
    #[must_use]
    pub fn text(self) -> &'static str {
        let [_, text] = WORDS[self as usize];
        text
    }
}

/// Name and sentence of each rule, in order.
const WORDS: [[&str; 2]; 21] = [
    [
        "text around the reply",
        "Both streams are searched for replies; everything else is text, and a Success beside text is looked at.",
    ],
    ["reply on standard error", "A reply counts on either stream."],
    ["several replies", "The worst one counts, and replies that contradict each other are a failure."],
    ["unknown call-out", "The answer that the driver gives to a verb nobody knows is read as Not supported."],
    [
        "exit status and status disagree",
        "The status decides, but a Success needs exit status 0 or a look at the directory.",
    ],
    [
        "unusual status word",
        "Only Success succeeds, Not supported counts in any case, every other word is a failure.",
    ],
    ["capabilities missing", "A capability that init leaves out has Kubernetes' default, so attach is true."],
    [
        "not idempotent",
        "The mount table is asked before a call, so that nothing is mounted or unmounted twice.",
    ],
    ["doubtful success", "A Success with a reason to doubt it counts only if the directory shows it."],
    [
        "output held open",
        "A call ends when the driver exits, even if a process it left behind holds its output.",
    ],
    [
        "stopped at the deadline",
        "A call that was stopped keeps its failure; its Success is looked at or is a failure.",
    ],
    [
        "spelling of keys and types",
        "Keys match in any case, null is absent, and a wrong type matters only where the field is used.",
    ],
    [
        "broken JSON",
        "A broken reply can be a failure or Not supported, never a Success, True, False and None excepted.",
    ],
    [
        "word splitting of options",
        "White space and control characters in options are written as escapes, which shells leave whole.",
    ],
    [
        "shape of the arguments",
        "The documented arguments are passed, unless the driver's settings ask for an older shape.",
    ],
    ["option keys refused", "The driver's settings can leave out the option keys that it refuses."],
    [
        "assumptions about paths",
        "Drivers run from where they are installed, in the directory layout of kubelet.",
    ],
    [
        "stray files",
        "Only what is empty and not mounted is removed; unknown files beside volumes are left alone.",
    ],
    ["environment", "Drivers get a full PATH, no inherited descriptors, and what their settings add."],
    ["concurrent calls", "Attach and detach run one at a time for each driver, the rest for each volume."],
    ["side effects of init", "Init runs once for each change of the driver, not on a timer."],
];

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "rule {} ({})", self.number(), self.name())
    }
}

/// As its number.
impl Serialize for Rule {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u8(self.number())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_run_from_1_to_21_and_names_differ() {
        let numbers: Vec<u8> = Rule::ALL.iter().map(|rule| rule.number()).collect();
        assert_eq!(numbers, (1..=21).collect::<Vec<u8>>());
        let mut names: Vec<&str> = Rule::ALL.iter().map(|rule| rule.name()).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), 21);
        assert_eq!(Rule::InitSideEffects.name(), "side effects of init");
        assert_eq!(Rule::BrokenJson.to_string(), "rule 13 (broken JSON)");
    }
}
