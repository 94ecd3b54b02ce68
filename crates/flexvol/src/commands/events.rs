//! `flexvol events`.

use std::time::Duration;

use crate::agent::{Event, EventsDocument, Query, ask};
use crate::args::{EventsArguments, Global, OutputFormat};
use crate::failure::{Failure, OK};
use crate::output::{Tone, harmless, toned, write_out};

/// Between two questions.
const PAUSE: Duration = Duration::from_millis(250);

pub(super) fn run(global: &Global, arguments: &EventsArguments) -> Result<u8, Failure> {
    let root = std::path::absolute(&global.root)?;
    let mut after = 0;
    loop {
        let number = after.to_string();
        let query = Query { target: ("GET", "/v1/events"), pairs: vec![("after", &number)] };
        let document: EventsDocument = ask(&root, &query)?;
        for event in &document.events {
            after = after.max(event.number);
            if is_meant(event, arguments) {
                print(event, global.output)?;
            }
        }
        if !arguments.follow {
            return Ok(OK);
        }
        std::thread::sleep(PAUSE);
    }
}

fn is_meant(event: &Event, arguments: &EventsArguments) -> bool {
    let pod = arguments.pod.as_ref().is_none_or(|pod| event.pod.as_deref() == Some(pod.as_str()));
    pod && (arguments.calls || event.call.is_none())
}

fn print(event: &Event, format: OutputFormat) -> Result<(), Failure> {
    let mut line = match format {
        OutputFormat::Json => serde_json::to_string(event).map_err(std::io::Error::from)?,
        OutputFormat::Text => text(event),
    };
    line.push('\n');
    write_out(line.as_bytes())
}

fn text(event: &Event) -> String {
    let what = match (&event.call, &event.ended) {
        (Some(call), Some(ended)) => harmless(&format!("{call}: {ended}")),
        _ => harmless(&event.reason),
    };
    let bad = ["Failed", "Broken", "Invalid", "Sick"].iter().any(|word| event.reason.contains(word));
    let what = if bad { toned(&what, Tone::Bad) } else { what };
    let about = [&event.pod, &event.volume, &event.driver, &event.file];
    let about: Vec<_> = about.into_iter().flatten().map(|text| harmless(text)).collect();
    let took = event.milliseconds.map(|milliseconds| format!(" ({milliseconds} ms)")).unwrap_or_default();
    let mut line = format!("{} {what}{took}", harmless(&event.time));
    if !about.is_empty() {
        line.push_str(&format!(" {}", about.join(" ")));
    }
    if !event.message.is_empty() {
        line.push_str(&format!(": {}", harmless(&event.message)));
    }
    line
}
