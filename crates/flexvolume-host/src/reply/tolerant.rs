//! The reading that runs every real driver: the 21 rules, of which those about reading are applied here.
//!
//! Where the rules leave a choice an error beats a false success, also for `unmount` and `detach`, where a false
//! success leaks. The text of a message is never interpreted: the mount table knows better.

use flexvolume::Verb;
use flexvolume_os::runner::{Ended, Output};

use super::answer;
use super::evidence::Evidence;
use super::{Asked, Cause, Failure, Field, Fields, Rule, Run, text};

/// The verb sent at registration to learn how a driver answers what it does not know.
pub const NONSENSE: &str = "flexvol-unknown-verb";

/// What a tolerant host makes of a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The call worked.
    Success(Fields),
    /// The driver says so, but there is reason to doubt: the host looks at the directory.
    /// Only for `mount`, `unmount`, `mountdevice`, `unmountdevice`.
    Claimed(Fields),
    /// The default of the call applies.
    NotSupported,
    /// It failed.
    Failed(Failure),
}

/// How a driver answered a verb that it cannot know.
#[derive(Debug, Clone, Copy)]
pub struct Probe<'a> {
    /// The verb, such as [`NONSENSE`].
    pub verb: &'a str,
    /// What came back.
    pub run: &'a Run,
}

/// An outcome and how it was reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Understanding {
    /// What the host goes on with.
    pub outcome: Outcome,
    /// Whether a reply with a status was found at all.
    pub replied: bool,
    /// The rules that were needed, in order; a non-empty list is the occasion for a warning.
    pub rules: Vec<Rule>,
    /// What was printed beside the reply, for diagnostics: bounded, without control characters but line ends and tabs,
    /// and without the lines' parts that may be secret options.
    pub noise: String,
}

impl Understanding {
    /// One line that names the rules that were needed; `None` for an answer as documented.
    #[must_use]
    pub fn warning(&self) -> Option<String> {
        // A failure with exit status 0 is what a careful driver answers; its message is reported anyway.
        let orderly = matches!(self.outcome, Outcome::Failed(_)) && self.rules == [Rule::ExitDisagrees];
        if self.rules.is_empty() || orderly {
            return None;
        }
        let rules: Vec<String> = self.rules.iter().map(|rule| format!("{rule}: {}", rule.text())).collect();
        Some(rules.join(" "))
    }
}

/// Reads a run; `probe` is the same driver's answer to a nonsense verb, when known.
///
/// Standard output and standard error are read apart; `combined` is never looked at.
#[must_use]
pub fn read(asked: Asked<'_>, run: &Run, probe: Option<Probe<'_>>) -> Understanding {
    let output = match run {
        Ok(output) => output,
        Err(error) => {
            let failure = Failure::from_cause(Cause::NotStarted(error.clone()), "");
            return Understanding {
                outcome: Outcome::Failed(failure),
                replied: false,
                rules: Vec::new(),
                noise: String::new(),
            };
        }
    };
    let mut judge = Judge { asked, output, probe, evidence: Evidence::gather(asked, output) };
    let outcome = judge.outcome();
    Understanding {
        outcome,
        replied: judge.evidence.replied(),
        noise: text::block(&judge.evidence.noise),
        rules: judge.evidence.rules.into_iter().collect(),
    }
}

struct Judge<'a> {
    asked: Asked<'a>,
    output: &'a Output,
    probe: Option<Probe<'a>>,
    evidence: Evidence<'a>,
}

impl Judge<'_> {
    fn outcome(&mut self) -> Outcome {
        if self.output.ended == Ended::TimedOut {
            self.apply(Rule::Deadline);
        }
        if let Some(failure) = self.evidence.failure.take() {
            if self.output.ended.is_success() {
                self.apply(Rule::ExitDisagrees);
            }
            return Outcome::Failed(failure);
        }
        let evidence = &self.evidence;
        let (success, not_supported) = (evidence.successes > 0, evidence.not_supported > 0);
        let unusable = evidence.unusable.is_some();
        match (success, not_supported) {
            _ if evidence.tangled => self.fail(Cause::Tangled),
            (true, true) => self.fail(Cause::Contradiction),
            (true, false) => self.success(),
            (false, true) if unusable => self.fail(Cause::Broken),
            (false, true) => self.not_supported(),
            (false, false) if unusable => self.fail(Cause::Broken),
            (false, false) => self.no_reply(),
        }
    }

    fn apply(&mut self, rule: Rule) {
        self.evidence.rules.insert(rule);
    }

    /// A failure that shows the broken reply, or else what was printed beside replies.
    fn fail(&self, cause: Cause) -> Outcome {
        let printed = match self.evidence.unusable {
            Some(broken) => text::block(&[broken]),
            None => text::block(&self.evidence.noise),
        };
        let mut failure = Failure::from_cause(cause, &printed);
        failure.replied = self.evidence.replied();
        Outcome::Failed(failure)
    }

    /// Rules 5, 9, 11, 12, 13: what is not to be believed, and what is to be looked at.
    fn success(&mut self) -> Outcome {
        if !self.output.ended.is_success() {
            self.apply(Rule::ExitDisagrees);
        }
        if let Some(cause) = self.refusal() {
            return self.fail(cause);
        }
        let doubt = self.doubt();
        if !leaves_a_mount(self.asked) {
            return match doubt {
                Some(cause) => self.fail(cause),
                None => Outcome::Success(self.fields()),
            };
        }
        if doubt.is_some() || self.evidence.repaired || !self.evidence.noise.is_empty() {
            self.apply(Rule::SuccessDoubted);
            return Outcome::Claimed(self.fields());
        }
        Outcome::Success(self.fields())
    }

    /// Why a Success cannot be used, whatever the directory looks like.
    fn refusal(&self) -> Option<Cause> {
        let evidence = &self.evidence;
        if let Some((field, kind)) = evidence.used.wrong {
            return Some(Cause::WrongType(field, kind));
        }
        let clash = evidence.two_values.filter(|&field| Some(field) == answer::used_by(self.asked));
        let repaired = evidence.repaired_device.then_some(Cause::RepairedDevice);
        clash.map(Cause::TwoValues).or(repaired)
    }

    /// Why a Success, or a Not supported, is only half believed.
    fn doubt(&self) -> Option<Cause> {
        let output = self.output;
        if !output.ended.is_success() {
            return Some(Cause::Unconfirmed(output.ended));
        }
        self.is_cut_off().then_some(Cause::CutOff)
    }

    /// What was not kept may hold a failure.
    fn is_cut_off(&self) -> bool {
        self.output.stdout.omitted > 0 || self.output.stderr.omitted > 0
    }

    /// Rules 5 and 11: a complete Not supported counts whatever the exit, but not from a call that had to be stopped.
    fn not_supported(&mut self) -> Outcome {
        if self.output.ended == Ended::TimedOut {
            return self.fail(Cause::Stopped);
        }
        if self.is_cut_off() {
            return self.fail(Cause::CutOff);
        }
        if !self.output.ended.is_success() {
            self.apply(Rule::ExitDisagrees);
        }
        Outcome::NotSupported
    }

    /// Rule 4. A crash of `mountdevice` taken as Not supported would make the host format the device; of `attach` or
    /// `waitforattach`, use a device that is not there; of `detach` or `unmountdevice`, leak.
    fn no_reply(&mut self) -> Outcome {
        let unsupported = matches!(self.output.ended, Ended::Exited(_))
            && match self.asked {
                Asked::Nonsense(_) | Asked::Call(Verb::Init | Verb::Mount | Verb::Unmount) => false,
                // Their defaults do nothing.
                Asked::Call(Verb::GetVolumeName | Verb::IsAttached) => true,
                Asked::Call(_) | Asked::Extension(_) => self.is_the_answer_to_nonsense(),
            };
        if !unsupported {
            return self.fail(Cause::NoReply(self.output.ended));
        }
        self.apply(Rule::UnknownVerb);
        Outcome::NotSupported
    }

    /// The same exit status, and the same bytes on both streams once the verb is replaced.
    fn is_the_answer_to_nonsense(&self) -> bool {
        let Some(Probe { verb, run: Ok(known) }) = self.probe else { return false };
        let replaced = |bytes: &[u8]| replace(bytes, verb.as_bytes(), self.asked.name().as_bytes());
        known.ended == self.output.ended
            && known.stdout.omitted + known.stderr.omitted == 0
            && !self.is_cut_off()
            && replaced(&known.stdout.bytes) == self.output.stdout.bytes
            && replaced(&known.stderr.bytes) == self.output.stderr.bytes
    }

    /// Rule 7: what the call uses, with defaults.
    fn fields(&mut self) -> Fields {
        let used = std::mem::take(&mut self.evidence.used);
        let mut fields = Fields { message: std::mem::take(&mut self.evidence.message), ..Fields::default() };
        match answer::used_by(self.asked) {
            Some(Field::Device) => fields.device = used.device.unwrap_or_default(),
            Some(Field::VolumeName) => fields.volume_name = used.volume_name.unwrap_or_default(),
            Some(Field::Attached) => fields.attached = used.attached.unwrap_or_default(),
            Some(Field::Capabilities) => {
                let [attach, ..] = used.flags;
                if attach.is_none() {
                    self.apply(Rule::CapabilitiesMissing);
                }
                fields.capabilities = Some(used.capabilities());
            }
            None => {}
        }
        fields
    }
}

/// The calls after which the host can look at a directory.
fn leaves_a_mount(asked: Asked<'_>) -> bool {
    matches!(asked, Asked::Call(Verb::Mount | Verb::Unmount | Verb::MountDevice | Verb::UnmountDevice))
}

/// `bytes` with every `old` replaced by `new`.
fn replace(bytes: &[u8], old: &[u8], new: &[u8]) -> Vec<u8> {
    let mut replaced = Vec::with_capacity(bytes.len());
    let mut rest = bytes;
    while let Some((&first, tail)) = rest.split_first() {
        match rest.strip_prefix(old).filter(|_| !old.is_empty()) {
            Some(after) => {
                replaced.extend_from_slice(new);
                rest = after;
            }
            None => {
                replaced.push(first);
                rest = tail;
            }
        }
    }
    replaced
}

#[cfg(test)]
#[path = "tolerant_tests.rs"]
mod tests;
