//! One cell of the matrix.

use std::fs;
use std::panic::{self, AssertUnwindSafe};
use std::path::PathBuf;
use std::time::Duration;

use serde_json::Value;

use crate::matrix::{Fault, Step};
use crate::stage::{Backend, CALL, SILENT_UNMOUNT, Stage};
use crate::support::Answer;
use crate::table::Expect;

/// How long a server that is back may take to serve again: the kernel tries every minute.
const BACK: Duration = Duration::from_secs(90);

/// What came of a cell.
#[derive(Debug)]
pub(crate) enum Verdict {
    /// It holds, in so many ways; the longest call took so long.
    Holds(usize, Duration),
    /// It does not hold, because …
    Fails(String),
}

/// Tries a cell.
pub(crate) fn run(backend: &dyn Backend, (step, fault, expect): (Step, Fault, Expect)) -> Verdict {
    let tried = panic::catch_unwind(AssertUnwindSafe(|| match step {
        Step::Mount => mount(backend, fault, expect),
        Step::Unmount => unmount(backend, fault, expect),
        Step::Return => come_back(backend, fault),
    }));
    match tried {
        Ok((ways, longest)) => Verdict::Holds(ways, longest),
        Err(panic) => {
            let text = panic.downcast_ref::<String>().cloned();
            let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
            Verdict::Fails(text.unwrap_or_default())
        }
    }
}

fn mount(backend: &dyn Backend, fault: Fault, expect: Expect) -> (usize, Duration) {
    let points: Vec<Option<&str>> = match fault {
        Fault::DriverKilled => backend.fail_points()[0].iter().copied().map(Some).collect(),
        _ => vec![None],
    };
    let mut longest = Duration::ZERO;
    let options = backend.options(fault);
    for options in &options {
        for point in &points {
            longest = longest.max(mount_once(backend, (fault, expect), (options, *point)));
        }
    }
    (options.len() * points.len(), longest)
}

fn mount_once(
    backend: &dyn Backend,
    (fault, expect): (Fault, Expect),
    (options, point): (&Value, Option<&str>),
) -> Duration {
    let mut stage = Stage::new(backend, fault);
    let subject = stage.subject();
    if fault == Fault::Rebooted {
        stage.call("mount", &subject, Some(options)).0.success();
    }
    stage.begin();
    let (answer, taken) = with_point(&stage, "mount", point, Some(options));
    assert!(taken <= CALL, "the mount took {taken:?}");
    judge(&answer, expect);
    if answer.signal.is_none() {
        let mounted = answer.status() == "Success";
        assert_eq!(
            stage.is_mounted(&subject),
            mounted,
            "the mount table does not say what the reply says: {answer:?}"
        );
    }
    if fault == Fault::LinkAsTarget {
        assert!(!stage.is_mounted(&stage.world.path("elsewhere")), "mounted where a symlink leads");
    }
    stage.end();
    settle(&stage, fault);
    taken
}

/// The next calls of every kind succeed, and nothing is left.
fn settle(stage: &Stage<'_>, fault: Fault) {
    let (subject, good) = (stage.subject(), stage.good());
    if fault == Fault::Rebooted {
        stage.call("mount", &stage.neighbour(), Some(&good)).0.success();
    }
    for _ in 0..2 {
        stage.call("mount", &subject, Some(&good)).0.success();
    }
    assert!(stage.becomes_readable(&subject, BACK), "the new mount cannot be read");
    assert!(stage.is_mounted(&stage.neighbour()), "the neighbour's mount is gone");
    assert!(stage.becomes_readable(&stage.neighbour(), BACK), "the neighbour's mount cannot be read");
    for directory in [&subject, &subject, &stage.neighbour()] {
        stage.call("unmount", directory, None).0.success();
        assert!(!stage.is_mounted(directory));
    }
    assert_eq!(stage.world.files(stage.backend.name()), [""; 0], "records are left");
}

fn unmount(backend: &dyn Backend, fault: Fault, expect: Expect) -> (usize, Duration) {
    if fault == Fault::Fifty {
        return (1, fifty(backend));
    }
    let points: Vec<Option<&str>> = match fault {
        Fault::DriverKilled => backend.fail_points()[1].iter().copied().map(Some).collect(),
        _ => vec![None],
    };
    let mut ways = 0;
    let mut longest = Duration::ZERO;
    for point in points {
        for alone in [false, true] {
            longest = longest.max(unmount_once(backend, (fault, expect), (point, alone)));
            ways += 1;
        }
    }
    (ways, longest)
}

/// Once with a neighbour that shares the file system, which must not be harmed, and once alone.
fn unmount_once(
    backend: &dyn Backend,
    (fault, expect): (Fault, Expect),
    (point, alone): (Option<&str>, bool),
) -> Duration {
    let mut stage = Stage::new(backend, fault);
    let (subject, good) = (stage.subject(), stage.good());
    let options = backend.options(fault).remove(0);
    stage.call("mount", &subject, Some(&options)).0.success();
    fs::write(subject.join("written"), "written").unwrap();
    if alone {
        stage.call("unmount", &stage.neighbour(), None).0.success();
    }
    stage.begin();
    let limit = if fault.is_silence() { SILENT_UNMOUNT } else { CALL };
    let (answer, taken) = with_point(&stage, "unmount", point, None);
    assert!(taken <= limit, "the unmount took {taken:?}");
    judge(&answer, expect);
    if answer.signal.is_none() {
        assert_eq!(
            stage.is_mounted(&subject),
            answer.status() != "Success",
            "the mount table does not say what the reply says: {answer:?}"
        );
    }
    stage.end();
    stage.call("unmount", &subject, None).0.success();
    assert!(!stage.is_mounted(&subject));
    if alone && fault != Fault::Rebooted {
        stage.call("mount", &stage.neighbour(), Some(&good)).0.success();
    }
    settle(&stage, fault);
    taken
}

fn fifty(backend: &dyn Backend) -> Duration {
    let mut stage = Stage::new(backend, Fault::Fifty);
    let directories: Vec<PathBuf> = (0..50).map(|number| stage.world.path(&format!("m{number}"))).collect();
    for directory in &directories {
        stage.call("mount", directory, Some(&stage.good())).0.success();
    }
    stage.begin();
    let taken = stage.call_all("unmount", &directories);
    assert!(taken <= CALL, "the unmounts took {taken:?}");
    assert!(directories.iter().all(|directory| !stage.is_mounted(directory)));
    stage.end();
    settle(&stage, Fault::Fifty);
    taken
}

/// The fault goes, and the mount serves again: by itself, or by a call of `heal` that any node agent would make.
fn come_back(backend: &dyn Backend, fault: Fault) -> (usize, Duration) {
    let mut stage = Stage::new(backend, fault);
    let subject = stage.subject();
    let options = backend.options(fault).remove(0);
    fs::write(backend.directory().join("subject/known"), "known").unwrap();
    stage.call("mount", &subject, Some(&options)).0.success();
    assert!(stage.is_readable(&subject));
    stage.begin();
    let (answer, mut longest) = stage.call("heal", &subject, Some(&options));
    assert!(longest <= CALL, "heal took {longest:?}");
    assert!(fault == Fault::Replaced || answer.status() != "none", "{answer:?}");
    assert!(stage.is_mounted(&subject), "healing a mount that cannot be helped took it away");
    stage.end();
    for _ in 0..10 {
        if stage.is_readable(&subject) {
            break;
        }
        let (_, taken) = stage.call("heal", &subject, Some(&options));
        longest = longest.max(taken);
    }
    assert!(longest <= CALL, "heal took {longest:?}");
    assert!(stage.becomes_readable(&subject, BACK), "it does not serve again");
    stage.call("heal", &subject, Some(&options)).0.success();
    stage.call("unmount", &subject, None).0.success();
    settle(&stage, fault);
    (1, longest)
}

fn with_point(
    stage: &Stage<'_>,
    verb: &str,
    point: Option<&str>,
    options: Option<&Value>,
) -> (Answer, Duration) {
    let subject = stage.subject();
    let Some(point) = point else { return stage.call(verb, &subject, options) };
    let kill = format!("{point}=abort");
    let (answer, taken) = stage.call_with(verb, &subject, (options, &[("FLEXVOL_FAILPOINT", &kill)]));
    assert!(answer.signal.is_some(), "the driver never came to {point}");
    (answer, taken)
}

fn judge(answer: &Answer, expect: Expect) {
    match expect {
        Expect::Converges | Expect::Never(_) => {}
        Expect::Succeeds => assert_eq!(answer.status(), "Success", "{answer:?}"),
        Expect::Refuses(words) => {
            assert_eq!(answer.status(), "Failure", "{answer:?}");
            for word in words {
                assert!(answer.message().contains(word), "{word:?} is missing in {:?}", answer.message());
            }
        }
    }
}
