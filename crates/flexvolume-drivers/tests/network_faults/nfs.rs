//! The driver `nfs`.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::matrix::{Fault, Length, Row};
use crate::stage::{Backend, server};
use crate::support::Program;
use crate::table::Expect::{Converges, Never, Refuses, Succeeds};

pub(crate) struct Nfs;

const NOT_ASKED: &str = "an unmount does not look at it";
const MOUNT_ONLY: &str = "it is a matter of the mount alone";
const NO_SECRET: &str = "the driver takes no secret";

const ROWS: &[Row] = &[
    Row {
        fault: Fault::Silent,
        how: "the server's host drops every packet",
        cells: [Refuses(&["does not answer"]), Succeeds, Succeeds],
        length: Length::Quick,
    },
    Row {
        fault: Fault::LinkCut,
        how: "the server's end of the link goes down",
        cells: [Refuses(&["cannot reach"]), Succeeds, Succeeds],
        length: Length::Full,
    },
    Row {
        fault: Fault::Stopped,
        how: "the server has been stopped in good order, and its host is up",
        cells: [Refuses(&["refuses connections"]), Succeeds, Succeeds],
        length: Length::Quick,
    },
    Row {
        fault: Fault::Crashed,
        how: "the server's programs are killed, and started again for the return",
        cells: [Refuses(&["refuses connections"]), Succeeds, Succeeds],
        length: Length::Full,
    },
    Row {
        fault: Fault::Missing,
        how: "the path is not there",
        cells: [Refuses(&["no export", "/nope"]), Never(MOUNT_ONLY), Never(MOUNT_ONLY)],
        length: Length::Quick,
    },
    Row {
        fault: Fault::Replaced,
        how: "the directory that is mounted is removed on the server and made again",
        cells: [Never("the new one is as good as any"), Succeeds, Succeeds],
        length: Length::Quick,
    },
    Row {
        fault: Fault::Denied,
        how: "the server exports the directory to another host only",
        cells: [Refuses(&["cannot mount"]), Succeeds, Succeeds],
        length: Length::Full,
    },
    Row {
        fault: Fault::NoName,
        how: "the server's name is `no-such-host.invalid`",
        cells: [Refuses(&["the name no-such-host.invalid"]), Never(NOT_ASKED), Never(MOUNT_ONLY)],
        length: Length::Quick,
    },
    Row {
        fault: Fault::WrongSecret,
        how: "",
        cells: [Never(NO_SECRET), Never(NO_SECRET), Never(NO_SECRET)],
        length: Length::Full,
    },
    Row {
        fault: Fault::Busy,
        how: "a program of the node has its working directory inside, and the server is well",
        cells: [Never(NOT_ASKED), Refuses(&["in use"]), Never("nothing is wrong with the mount")],
        length: Length::Quick,
    },
    Row {
        fault: Fault::DirtyPages,
        how: "written data is in memory only when the host drops every packet",
        cells: [Never(MOUNT_ONLY), Succeeds, Succeeds],
        length: Length::Full,
    },
    Row {
        fault: Fault::BlockedWriter,
        how: "a program waits in a write when the host drops every packet",
        cells: [Never(MOUNT_ONLY), Succeeds, Succeeds],
        length: Length::Quick,
    },
    Row {
        fault: Fault::WorkingDirectory,
        how: "a program has its working directory inside when the host drops every packet",
        cells: [Never(MOUNT_ONLY), Succeeds, Succeeds],
        length: Length::Full,
    },
    Row {
        fault: Fault::DriverKilled,
        how: "SIGABRT at each of the driver's fail points",
        cells: [Converges, Converges, Never("no call is made")],
        length: Length::Full,
    },
    Row {
        fault: Fault::Rebooted,
        how: "every mount is gone, the records are still there",
        cells: [Succeeds, Succeeds, Never("nothing is mounted")],
        length: Length::Full,
    },
    Row {
        fault: Fault::Fifty,
        how: "fifty mounts of one server are unmounted at once while its host drops every packet",
        cells: [Never(MOUNT_ONLY), Succeeds, Never("as one mount")],
        length: Length::Full,
    },
    Row {
        fault: Fault::LinkInExport,
        how: "the sub-directory is a symlink to another tenant's, once relative and once absolute",
        cells: [Refuses(&["symlink"]), Never(MOUNT_ONLY), Never(MOUNT_ONLY)],
        length: Length::Quick,
    },
    Row {
        fault: Fault::Climbing,
        how: "the sub-directory, and the share, have `..` in them",
        cells: [Refuses(&["`..`"]), Never(MOUNT_ONLY), Never(MOUNT_ONLY)],
        length: Length::Quick,
    },
    Row {
        fault: Fault::LinkAsTarget,
        how: "the mount dir is a symlink to a directory of the node",
        cells: [Refuses(&["symlink"]), Never(MOUNT_ONLY), Never(MOUNT_ONLY)],
        length: Length::Quick,
    },
];

fn share(share: &str) -> Value {
    json!({"server": "10.99.0.2", "share": share})
}

fn below(subdirectory: &str) -> Value {
    json!({"server": "10.99.0.2", "share": "/", "subdirectory": subdirectory})
}

impl Backend for Nfs {
    fn name(&self) -> &'static str {
        "nfs"
    }

    fn program(&self) -> Program {
        Program::Nfs
    }

    fn server(&self) -> &'static str {
        "nfs"
    }

    fn rows(&self) -> &'static [Row] {
        ROWS
    }

    fn directory(&self) -> PathBuf {
        "/srv/nfs".into()
    }

    fn prepare(&self) {
        for tenant in ["t1", "t2", "subject"] {
            fs::create_dir_all(self.directory().join(tenant)).unwrap();
        }
        for (target, link) in [("../t2", "relative"), ("/t2", "absolute")] {
            let link = self.directory().join("t1").join(link);
            if fs::symlink_metadata(&link).is_err() {
                symlink(target, link).unwrap();
            }
        }
    }

    fn options(&self, fault: Fault) -> Vec<Value> {
        match fault {
            Fault::Missing => vec![share("/nope"), share("/subject/nope")],
            Fault::NoName => vec![json!({"server": "no-such-host.invalid", "share": "/"})],
            Fault::LinkInExport => {
                vec![below("t1/relative"), below("t1/absolute"), below("t1/relative/subject")]
            }
            Fault::Climbing => vec![below("../t2"), below("t1/../t2"), share("/t1/../t2")],
            Fault::Replaced => vec![below("subject")],
            _ => vec![share("/")],
        }
    }

    fn begin(&self, fault: Fault) {
        match fault {
            Fault::Denied => {
                server(&["run", "exportfs", "-ua"]);
                let options = "rw,fsid=0,insecure,no_subtree_check";
                server(&["run", "exportfs", "-o", options, "10.99.0.77:/srv/nfs"]);
            }
            Fault::Replaced => {
                let subject = self.directory().join("subject");
                remove(&subject);
                fs::create_dir(&subject).unwrap();
                fs::write(subject.join("known"), "known").unwrap();
            }
            other => panic!("{other:?}"),
        }
    }

    fn end(&self, fault: Fault) {
        if fault == Fault::Denied {
            server(&["run", "exportfs", "-ua"]);
            server(&["run", "exportfs", "-ra"]);
        }
    }

    fn fail_points(&self) -> [&'static [&'static str]; 2] {
        [&["network.claimed", "network.mounted"], &["network.unmounted"]]
    }
}

/// The files of a directory that this test filled, and the directory.
fn remove(directory: &Path) {
    for entry in fs::read_dir(directory).unwrap() {
        fs::remove_file(entry.unwrap().path()).unwrap();
    }
    fs::remove_dir(directory).unwrap();
}
