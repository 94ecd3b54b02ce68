//! `docs/drivers-compat.md`: what both readings make of each driver's answers, counted.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use flexvolume_host::reply::Rule;

use crate::corpus::{Case, File};

const INTRODUCTION: &str = "\
# Real drivers, before and after

What public FlexVolume drivers really answer, and what becomes of it: under Kubernetes v1.37, which is the strict reading of
`flexvol`, and in its tolerant reading, which is the default. The answers are those of the reply corpus
(`crates/flexvolume-host/tests/corpus`), recorded from the drivers or read off their sources; a driver's row says something
about those answers only, not about every way in which it can be called. A test writes this page from the corpus and fails
when it is stale (`UPDATE_EXPECTED=1 cargo test -p flexvolume-host --test corpus` writes it anew). The answers that were made up
to exercise a rule are left out.

- **Kubernetes** and **flexvol** count the answers: `S` succeed, `N` leave the call to the host (Not supported), `F` fail with
  the driver's own message, `L` are lost: Kubernetes reports what its JSON parser, or the exit status, says instead of the
  driver, and `flexvol` finds no answer.
- A success that `flexvol` doubts, because of text beside it or of its exit status, is counted as `C` for *claimed*: the host
  looks at the directory, and it counts only if the mount is there, or gone.
- **Rules** are those that the tolerant reading needed where it came to another result than Kubernetes; they are named below.
- **Settings** are what [drivers-settings.md](drivers-settings.md) recommends for the driver, beyond what is tolerated anyway.

An answer that succeeds under Kubernetes never fails in the tolerant reading, with two exceptions: an object with several
statuses, of which the worst counts, and one that echoes option keys (`kubernetes.io/…`), which is no answer.

";

/// The page.
pub(crate) fn page(files: &[File], settings: &str) -> String {
    let mut page = INTRODUCTION.to_owned();
    page.push_str("| driver | language | answers | Kubernetes | flexvol | rules | settings |\n");
    page.push_str("|---|---|---|---|---|---|---|\n");
    let mut all = Tally::default();
    let mut rules = BTreeSet::new();
    // What was made up to exercise a rule was never said by a driver.
    for file in files.iter().filter(|file| file.driver != "made") {
        let tally = Tally::of(&file.cases);
        let _ = writeln!(
            page,
            "| {} | {} | {} | {} | {} | {} | {} |",
            file.driver,
            file.language,
            file.cases.len(),
            tally.strict,
            tally.tolerant,
            numbers(&tally.rules),
            settings_of(&file.driver, settings)
        );
        all.add(&tally);
        rules.extend(tally.rules);
    }
    let _ =
        writeln!(page, "| **all** | | **{}** | {} | {} | | |\n", all.strict.sum(), all.strict, all.tolerant);
    page.push_str("## The rules\n\n");
    for rule in rules {
        let _ = writeln!(page, "- **{} {}**: {}", rule.number(), rule.name(), rule.text());
    }
    page
}

/// How often each outcome came.
#[derive(Debug, Default)]
struct Outcomes {
    success: usize,
    claimed: usize,
    not_supported: usize,
    failed: usize,
    lost: usize,
}

impl Outcomes {
    fn sum(&self) -> usize {
        self.success + self.claimed + self.not_supported + self.failed + self.lost
    }

    fn add(&mut self, other: &Self) {
        self.success += other.success;
        self.claimed += other.claimed;
        self.not_supported += other.not_supported;
        self.failed += other.failed;
        self.lost += other.lost;
    }
}

impl std::fmt::Display for Outcomes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { success, claimed, not_supported, failed, lost } = *self;
        let counts = [(success, 'S'), (claimed, 'C'), (not_supported, 'N'), (failed, 'F'), (lost, 'L')];
        let shown: Vec<_> = counts
            .iter()
            .filter(|(count, _)| *count > 0)
            .map(|(count, letter)| format!("{count} {letter}"))
            .collect();
        f.write_str(&shown.join(", "))
    }
}

#[derive(Debug, Default)]
struct Tally {
    strict: Outcomes,
    tolerant: Outcomes,
    rules: BTreeSet<Rule>,
}

impl Tally {
    fn of(cases: &[Case]) -> Self {
        let mut tally = Self::default();
        for case in cases {
            let explanation = case.explanation();
            let (strict, tolerant) = (&explanation.strict, &explanation.tolerant);
            let before = match strict.outcome {
                "success" if strict.panics => &mut tally.strict.lost,
                "success" => &mut tally.strict.success,
                "not_supported" => &mut tally.strict.not_supported,
                "failed" => &mut tally.strict.failed,
                _ => &mut tally.strict.lost,
            };
            *before += 1;
            let after = match (tolerant.outcome, tolerant.reply) {
                ("success", _) => &mut tally.tolerant.success,
                ("claimed", _) => &mut tally.tolerant.claimed,
                ("not_supported", _) => &mut tally.tolerant.not_supported,
                (_, true) => &mut tally.tolerant.failed,
                (_, false) => &mut tally.tolerant.lost,
            };
            *after += 1;
            if strict.outcome != tolerant.outcome {
                tally.rules.extend(&tolerant.rules);
            }
        }
        tally
    }

    fn add(&mut self, other: &Self) {
        self.strict.add(&other.strict);
        self.tolerant.add(&other.tolerant);
    }
}

fn numbers(rules: &BTreeSet<Rule>) -> String {
    rules.iter().map(|rule| rule.number().to_string()).collect::<Vec<_>>().join(", ")
}

/// The keys of the snippets whose paragraph names the driver's repository.
fn settings_of(driver: &str, settings: &str) -> String {
    let repository = driver.split(':').next().unwrap_or(driver);
    let paragraphs: Vec<&str> = settings.split("\n\n").collect();
    let mut keys = BTreeSet::new();
    for pair in paragraphs.windows(2) {
        let names = |word: &str| {
            word.trim_matches(|c: char| !c.is_alphanumeric()).trim_end_matches("'s") == repository
        };
        if pair[0].split_whitespace().any(names) && pair[1].starts_with("```toml") {
            let lines = paragraphs.iter().skip_while(|paragraph| *paragraph != &pair[1]);
            keys.extend(snippet_keys(lines.copied()));
        }
    }
    keys.into_iter().map(|key| format!("`{key}`")).collect::<Vec<_>>().join(", ")
}

/// The keys of a snippet, which may have empty lines in it.
fn snippet_keys<'a>(paragraphs: impl Iterator<Item = &'a str>) -> Vec<String> {
    let lines = paragraphs.flat_map(str::lines).skip(1).take_while(|line| !line.starts_with("```"));
    let mut keys = Vec::new();
    let mut table = String::new();
    for line in lines {
        if let Some(name) = line.strip_prefix('[').and_then(|line| line.strip_suffix(']')) {
            table = format!("{name}.");
        } else if let Some((key, _)) = line.split_once(" = ") {
            keys.push(format!("{table}{key}"));
        }
    }
    keys
}
