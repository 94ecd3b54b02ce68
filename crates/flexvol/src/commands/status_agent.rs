//! What the agent says, for `flexvol status` and `flexvol status --watch`.

use std::collections::BTreeMap;
use std::io::IsTerminal as _;
use std::time::Duration;

use crate::agent::{Query, StatusDocument, VolumeLine, ask, find};
use crate::args::OutputFormat;
use crate::failure::Failure;
use crate::output::{Cell, Tone, harmless, table, toned, write_out};
use crate::session::Session;

/// Between two pictures.
const PAUSE: Duration = Duration::from_secs(1);
/// A picture that is longer than the screen scrolls away.
const MOST_LINES: usize = 40;

fn query() -> Query<'static> {
    Query { target: ("GET", "/v1/status"), pairs: Vec::new() }
}

/// What the agent of this root says, if there is one and it answers.
pub(super) fn ask_if_there(session: &Session) -> Option<StatusDocument> {
    find(&session.host.root, &query()).unwrap_or_else(|failure| {
        failure.lines.iter().for_each(|line| session.output.note(line));
        None
    })
}

/// One picture after the other, until somebody has seen enough.
pub(super) fn watch(session: &Session) -> Result<u8, Failure> {
    let clear = if std::io::stdout().is_terminal() { "\u{1b}[H\u{1b}[2J" } else { "" };
    loop {
        let document: StatusDocument = ask(&session.host.root, &query())?;
        let picture = match session.output.format {
            OutputFormat::Json => serde_json::to_string(&document).map_err(std::io::Error::from)? + "\n",
            OutputFormat::Text => format!("{clear}{}{}", text(&document), volumes(&document)),
        };
        write_out(picture.as_bytes())?;
        std::thread::sleep(PAUSE);
    }
}

/// A summary, and everything that is not as it should be.
pub(super) fn text(document: &StatusDocument) -> String {
    let mut stages: BTreeMap<&str, usize> = BTreeMap::new();
    for line in &document.volumes {
        *stages.entry(&line.stage).or_default() += 1;
    }
    let counts: Vec<_> = stages.into_iter().map(|(stage, count)| format!("{count} {stage}")).collect();
    let counts = if counts.is_empty() { "no volumes".to_owned() } else { counts.join(", ") };
    let mut text = format!("agent: {counts}\n");
    if !document.populated {
        text.push_str("agent: the manifests have not all been read, so nothing is unmounted\n");
    }
    let bad = document.drivers.iter().filter(|(_, state)| *state != "ready");
    for (driver, state) in bad {
        text.push_str(&format!("{} {driver}: {}\n", toned("driver", Tone::Bad), harmless(state)));
    }
    for why in document.manifests.values() {
        text.push_str(&format!("{}: {}\n", toned("manifest", Tone::Bad), harmless(why)));
    }
    for line in &document.volumes {
        if let Some(sick) = &line.sick {
            let word = toned("does not answer", Tone::Bad);
            text.push_str(&format!("{word}: {} of {}: {}\n", line.volume, who(line), harmless(sick)));
        }
    }
    for line in document.volumes.iter().filter(|line| line.why.is_some()) {
        let why = harmless(line.why.as_deref().unwrap_or_default());
        let stage = toned(&line.stage, if line.failures > 0 { Tone::Bad } else { Tone::Doubtful });
        text.push_str(&format!("{stage}: {} of {}{}: {why}\n", line.volume, who(line), next_try(line)));
    }
    text
}

fn next_try(line: &VolumeLine) -> String {
    match (line.again_in, line.failures) {
        (Some(time), failures) => format!(" (failed {}, again in {})", times(failures), short(time)),
        (None, 0) => String::new(),
        (None, failures) => format!(" (failed {})", times(failures)),
    }
}

fn times(count: u32) -> String {
    if count == 1 { "once".to_owned() } else { format!("{count} times") }
}

/// All volumes; those that something is happening to come first.
fn volumes(document: &StatusDocument) -> String {
    let mut lines: Vec<&VolumeLine> = document.volumes.iter().collect();
    lines.sort_by_key(|line| line.stage == "mounted");
    let rows = lines.iter().take(MOST_LINES).map(|line| {
        [who(line).into(), (&line.volume).into(), (&line.driver).into(), stage(line), progress(line).into()]
    });
    let mut text = table(["POD", "VOLUME", "DRIVER", "STAGE", ""], rows);
    if lines.len() > MOST_LINES {
        text.push_str(&format!("and {} more\n", lines.len() - MOST_LINES));
    }
    text
}

fn stage(line: &VolumeLine) -> Cell {
    let tone = match line.stage.as_str() {
        "mounted" => Tone::Good,
        "backing-off" => Tone::Bad,
        _ => Tone::Doubtful,
    };
    Cell::toned(line.stage.as_str(), tone)
}

fn progress(line: &VolumeLine) -> String {
    match (line.running_for, line.again_in) {
        (Some(time), _) if line.superseded => format!("for {}, no longer wanted", short(time)),
        (Some(time), _) => format!("for {}", short(time)),
        (None, Some(time)) => format!("again in {}", short(time)),
        (None, None) => String::new(),
    }
}

fn who(line: &VolumeLine) -> &str {
    line.pod_name.as_deref().unwrap_or(&line.pod)
}

/// Milliseconds, to the tenth of a second.
fn short(milliseconds: u64) -> String {
    format!("{}.{} s", milliseconds / 1000, milliseconds % 1000 / 100)
}
