//! `flexvol wait`.

use std::time::{Duration, Instant};

use crate::agent::{Query, StatusDocument, VolumeLine, ask};
use crate::args::{Global, WaitArguments, WaitFor};
use crate::failure::{Failure, OK, STEP_FAILED};

/// Between two questions.
const PAUSE: Duration = Duration::from_millis(100);

pub(super) fn run(global: &Global, arguments: &WaitArguments) -> Result<u8, Failure> {
    let root = std::path::absolute(&global.root)?;
    let begun = Instant::now();
    loop {
        let status = status(&root, arguments)?;
        let missing = missing(&status, arguments);
        if missing.is_empty() {
            return Ok(OK);
        }
        if begun.elapsed() >= arguments.timeout {
            return Err(Failure { code: STEP_FAILED, lines: missing });
        }
        std::thread::sleep(PAUSE);
    }
}

/// Of all pods, or of those that are waited for.
fn status(root: &std::path::Path, arguments: &WaitArguments) -> Result<StatusDocument, Failure> {
    let target = ("GET", "/v1/status");
    let [pod] = arguments.pod.as_slice() else { return ask(root, &Query { target, pairs: Vec::new() }) };
    ask(root, &Query { target, pairs: vec![("pod", pod.as_str())] })
}

/// What is not as it should be, a line each.
fn missing(status: &StatusDocument, arguments: &WaitArguments) -> Vec<String> {
    let meant = |line: &&VolumeLine| {
        arguments.pod.is_empty() || arguments.pod.iter().any(|pod| pod.as_str() == line.pod)
    };
    let mut missing = Vec::new();
    if !status.populated {
        missing.push("the agent has not read all manifests yet".to_owned());
    }
    for line in status.volumes.iter().filter(meant) {
        let so = match arguments.what {
            WaitFor::Mounted => line.stage == "mounted" || line.stage == "left-alone",
            WaitFor::Gone => false,
        };
        if !so {
            let why = line.why.as_ref().map(|why| format!(": {why}")).unwrap_or_default();
            missing.push(format!("{} of {} is {}{why}", line.volume, line.pod, line.stage));
        }
    }
    if arguments.what == WaitFor::Mounted {
        let unknown = |pod: &&flexvolume_host::contract::PodUid| {
            !status.volumes.iter().any(|line| line.pod == pod.as_str())
        };
        let words =
            arguments.pod.iter().filter(unknown).map(|pod| format!("the agent knows no volume of pod {pod}"));
        missing.extend(words);
    }
    missing
}
