//! Everything that a driver said on both streams, added up (rules 1, 2, 3, 6, 12, 13).

use std::collections::BTreeSet;

use flexvolume_os::runner::Output;

use super::answer::{self, Answer, Device, Shape, Used, Word};
use super::broken::{self, Broken};
use super::failure::{Cause, Failure, Field};
use super::scan::{Piece, Pieces};
use super::syntax::Words;
use super::{Asked, Rule, text};

/// What was found.
#[derive(Debug, Default)]
pub(super) struct Evidence<'a> {
    /// The first failure, standard output before standard error.
    pub(super) failure: Option<Failure>,
    /// How many times Success was said in whole replies.
    pub(super) successes: usize,
    /// How many times Not supported was said.
    pub(super) not_supported: usize,
    /// The first broken reply of which nothing can be made.
    pub(super) unusable: Option<&'a [u8]>,
    /// Whether a Success needed the repair of bare words.
    pub(super) repaired: bool,
    /// Whether such a Success names a device.
    pub(super) repaired_device: bool,
    /// Whether a stream was too tangled to be searched to its end.
    pub(super) tangled: bool,
    /// The fields of all Successes.
    pub(super) used: Used,
    /// The message of the first Success that has one.
    pub(super) message: String,
    /// The first field of which two Successes give different values.
    pub(super) two_values: Option<Field>,
    /// What was printed beside replies.
    pub(super) noise: Vec<&'a [u8]>,
    /// The rules that were needed.
    pub(super) rules: BTreeSet<Rule>,
    /// How many statuses were found.
    statuses: usize,
    /// How many of them in whole replies.
    whole: usize,
    /// How many pieces of the noise are no broken replies.
    texts: usize,
}

impl<'a> Evidence<'a> {
    /// Searches both streams to the end.
    pub(super) fn gather(asked: Asked<'_>, output: &'a Output) -> Self {
        let mut evidence = Evidence::default();
        evidence.stream(asked, &output.stdout.bytes);
        let on_stdout = evidence.statuses;
        evidence.stream(asked, &output.stderr.bytes);
        if evidence.statuses > on_stdout {
            evidence.rules.insert(Rule::ReplyOnStderr);
        }
        if evidence.statuses > 1 {
            evidence.rules.insert(Rule::SeveralReplies);
        }
        let around_whole = evidence.whole > 0 && !evidence.noise.is_empty();
        if around_whole || (evidence.statuses > 0 && evidence.texts > 0) {
            evidence.rules.insert(Rule::TextAroundReply);
        }
        evidence
    }

    /// Whether a status was found.
    pub(super) fn replied(&self) -> bool {
        self.statuses > 0
    }

    fn stream(&mut self, asked: Asked<'_>, stream: &'a [u8]) {
        for piece in Pieces::of(stream) {
            match piece {
                Piece::Text(text) => self.text(text),
                Piece::Tangled(text) => {
                    self.tangled = true;
                    self.text(text);
                }
                Piece::Broken(text) => self.broken(text),
                Piece::Object(text, words) => match answer::read(asked, text) {
                    Some(answer) => self.answer(answer, words),
                    None => self.text(text),
                },
            }
        }
    }

    fn text(&mut self, text: &'a [u8]) {
        self.texts += 1;
        self.noise.push(text);
    }

    fn answer(&mut self, answer: Answer, words: Words) {
        self.statuses += answer.words.len();
        self.whole += answer.words.len();
        if answer.shape == Shape::Bent {
            self.rules.insert(Rule::KeysAndTypes);
        }
        if words == Words::Python {
            self.rules.insert(Rule::BrokenJson);
        }
        let mut succeeded = false;
        for word in &answer.words {
            match word {
                Word::Success => succeeded = true,
                Word::NotSupported { exact } => {
                    self.not_supported += 1;
                    if !exact {
                        self.rules.extend([Rule::UnknownVerb, Rule::StatusWord]);
                    }
                }
                Word::Other(word) => self.said(word, &answer),
            }
        }
        if succeeded {
            self.success(answer, words);
        }
    }

    fn said(&mut self, word: &str, answer: &Answer) {
        if word != "Failure" {
            self.rules.insert(Rule::StatusWord);
        }
        if self.failure.is_some() {
            return;
        }
        let message = if answer.message.is_empty() && !answer.reason.is_empty() {
            self.rules.insert(Rule::StatusWord);
            &answer.reason
        } else {
            &answer.message
        };
        self.failure = Some(Failure::said(word.to_owned(), message.clone()));
    }

    fn success(&mut self, answer: Answer, words: Words) {
        self.successes += 1;
        if words == Words::Python {
            self.repaired = true;
            self.repaired_device |= answer.device == Device::Present;
        }
        if self.message.is_empty() {
            self.message = answer.message;
        }
        self.add(answer.used);
    }

    /// Fields add up; a value that is absent contradicts nothing.
    fn add(&mut self, new: Used) {
        let used = &mut self.used;
        used.wrong = used.wrong.take().or(new.wrong);
        let mut clashes = vec![
            (Field::Device, join(&mut used.device, new.device)),
            (Field::VolumeName, join(&mut used.volume_name, new.volume_name)),
            (Field::Attached, join(&mut used.attached, new.attached)),
        ];
        for (flag, new) in used.flags.iter_mut().zip(new.flags) {
            clashes.push((Field::Capabilities, join(flag, new)));
        }
        let clash = clashes.into_iter().find(|(_, joined)| *joined == Joined::Clash).map(|(field, _)| field);
        self.two_values = self.two_values.or(clash);
    }

    fn broken(&mut self, text: &'a [u8]) {
        let Broken::Words(words) = broken::read(text) else {
            self.text(text);
            return;
        };
        self.statuses += words.count;
        self.rules.insert(Rule::BrokenJson);
        self.not_supported += usize::from(words.not_supported);
        if words.unusable {
            self.unusable = self.unusable.or(Some(text));
        }
        self.noise.push(text);
        if let Some(word) = words.failure {
            if word != "Failure" {
                self.rules.insert(Rule::StatusWord);
            }
            self.failure.get_or_insert_with(|| Failure::from_cause(Cause::Broken, &text::block(&[text])));
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Joined {
    Same,
    Clash,
}

fn join<T: PartialEq>(old: &mut Option<T>, new: Option<T>) -> Joined {
    match (&old, new) {
        (_, None) => Joined::Same,
        (None, new) => {
            *old = new;
            Joined::Same
        }
        (Some(old), Some(new)) if *old == new => Joined::Same,
        (Some(_), Some(_)) => Joined::Clash,
    }
}
