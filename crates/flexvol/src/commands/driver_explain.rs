//! `flexvol driver explain`.

use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use flexvolume_host::os::runner::{Captured, Core, Ended, Output, Pipes};
use flexvolume_host::reply::tolerant::{NONSENSE, Probe};
use flexvolume_host::reply::{Asked, Run, explain};

use crate::args::{ExplainArguments, Global};
use crate::failure::{BAD_INPUT, Failure, OK};
use crate::output;

/// As much as a host keeps of a stream.
const LIMIT: u64 = 1 << 20;

pub(super) fn run(global: &Global, arguments: &ExplainArguments) -> Result<u8, Failure> {
    // `probe` is the corpus' word for a verb that no driver knows.
    let word = if arguments.call == "probe" { NONSENSE } else { &arguments.call };
    let answer =
        Answer { ended: ended(arguments), stdout: &arguments.stdout, stderr: &arguments.stderr }.run()?;
    let nonsense = Answer {
        ended: Ended::Exited(arguments.nonsense_exit),
        stdout: &arguments.nonsense_stdout,
        stderr: &arguments.nonsense_stderr,
    };
    let asked_nonsense = arguments.nonsense_stdout.is_some() || arguments.nonsense_stderr.is_some();
    let nonsense = asked_nonsense.then(|| nonsense.run()).transpose()?;
    let probe = nonsense.as_ref().map(|run| Probe { verb: &arguments.nonsense_verb, run });
    let explanation = explain(Asked::parse(word), &answer, probe);
    output::Output { format: global.output }.print(&explanation, ToString::to_string)?;
    Ok(OK)
}

fn ended(arguments: &ExplainArguments) -> Ended {
    match (arguments.timed_out, arguments.signal) {
        (true, _) => Ended::TimedOut,
        (false, Some(signal)) => Ended::Signaled(signal),
        (false, None) => Ended::Exited(arguments.exit),
    }
}

/// An answer that was captured somewhere else.
struct Answer<'a> {
    ended: Ended,
    stdout: &'a Option<PathBuf>,
    stderr: &'a Option<PathBuf>,
}

impl Answer<'_> {
    fn run(&self) -> Result<Run, Failure> {
        let stdout = captured(self.stdout.as_deref())?;
        let stderr = captured(self.stderr.as_deref())?;
        // The order in which a shared pipe would carry them is not known any more.
        let combined = Captured {
            bytes: [stdout.bytes.as_slice(), stderr.bytes.as_slice()].concat(),
            omitted: stdout.omitted + stderr.omitted,
        };
        let (duration, pipes) = (Duration::ZERO, Pipes::Closed);
        Ok(Ok(Output { ended: self.ended, core: Core::None, stdout, stderr, combined, duration, pipes }))
    }
}

fn captured(file: Option<&Path>) -> Result<Captured, Failure> {
    let Some(file) = file else { return Ok(Captured::default()) };
    let mut bytes = Vec::new();
    let read = if file == Path::new("-") {
        std::io::stdin().lock().take(LIMIT).read_to_end(&mut bytes)
    } else {
        File::open(file).and_then(|file| file.take(LIMIT).read_to_end(&mut bytes))
    };
    read.map_err(|error| Failure::says(BAD_INPUT, format_args!("{}: {error}", file.display())))?;
    Ok(Captured { bytes, omitted: 0 })
}
