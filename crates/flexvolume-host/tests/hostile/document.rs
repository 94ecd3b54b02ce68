//! `docs/robustness.md`, written from the table.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use crate::behaviours::BEHAVIOURS;
use crate::check::{Behaviour, Outcome, Program};

const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/robustness.md");
/// Set it to write the file instead of comparing it.
const UPDATE: &str = "FLEXVOL_UPDATE_DOCS";

#[test]
fn the_table_in_the_documentation_is_this_one() {
    let wanted = text();
    if std::env::var_os(UPDATE).is_some() {
        fs::create_dir_all(Path::new(FILE).parent().unwrap()).unwrap();
        fs::write(FILE, &wanted).unwrap();
    }
    let found = fs::read_to_string(FILE).unwrap_or_default();
    assert!(found == wanted, "docs/robustness.md is out of date: run this test with {UPDATE}=1");
}

fn text() -> String {
    let mut text = format!(
        "# What hostile drivers can do\n\n\
         <!-- Written by crates/flexvolume-host/tests/hostile; run that test with {UPDATE}=1 to write it again. -->\n\n\
         Each line is a test: the driver runs as a real process through the real host, which mounts a volume of it for a \
         pod and unmounts it again. In every case:\n\n\
         - neither call takes longer than the deadlines of its call-outs and two seconds for each to end the driver;\n\
         - no process and no open file is left (but those in the column *left*), and the host needs less than 128 MiB;\n\
         - no file and no mount of anybody else is touched;\n\
         - another driver mounts and unmounts all the time meanwhile;\n\
         - after a failed mount nothing is mounted; after a failed unmount the volume is on record (`flexvol status`) and \
         can be unmounted when the cause is gone.\n\n\
         {} behaviours. An error is shown by the part that says what happened.\n\n\
         | the driver … | mount | unmount | left | |\n|---|---|---|---|---|\n",
        BEHAVIOURS.len()
    );
    for behaviour in BEHAVIOURS {
        line(&mut text, behaviour);
    }
    text
}

fn line(text: &mut String, behaviour: &Behaviour) {
    let left = match behaviour.left_running {
        0 => String::new(),
        1 => "1 process".to_owned(),
        several => format!("{several} processes"),
    };
    let unmount = match (behaviour.mount, behaviour.unmount) {
        (Outcome::Fails(_), Outcome::Done) => "nothing left to do".to_owned(),
        (_, outcome) => shown(outcome, "unmounted"),
    };
    let shape = if matches!(behaviour.program, Program::Attachable(_)) { " (attachable)" } else { "" };
    let mount = shown(behaviour.mount, "mounted");
    let (the_driver, remark) = (behaviour.the_driver, behaviour.remark);
    writeln!(text, "| {the_driver}{shape} | {mount} | {unmount} | {left} | {remark} |").unwrap();
}

fn shown(outcome: Outcome, done: &str) -> String {
    match outcome {
        Outcome::Done => done.to_owned(),
        Outcome::Fails(text) => format!("error: … {text} …"),
    }
}
