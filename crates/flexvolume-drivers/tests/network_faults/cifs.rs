//! The driver `cifs`.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Once;

use serde_json::{Value, json};

use crate::matrix::{Fault, Length, Row};
use crate::stage::{Backend, SECRET, SECRET_ENCODED, server};
use crate::support::{Program, tool};
use crate::table::Expect::{Converges, Never, Refuses, Succeeds};

pub(crate) struct Cifs;

const NOT_ASKED: &str = "an unmount does not look at it";
const MOUNT_ONLY: &str = "it is a matter of the mount alone";

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
        how: "the share, or the sub-directory, is not there",
        cells: [Refuses(&["nope"]), Never(MOUNT_ONLY), Never(MOUNT_ONLY)],
        length: Length::Quick,
    },
    Row {
        fault: Fault::Replaced,
        how: "the directory that is mounted is removed on the server and made again",
        cells: [Never("the new one is as good as any"), Succeeds, Succeeds],
        length: Length::Full,
    },
    Row {
        fault: Fault::Denied,
        how: "the server lets nobody use the share any more, and has ended all sessions",
        cells: [Refuses(&["does not let", "open the share"]), Succeeds, Succeeds],
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
        how: "the password changes on the server, which restarts, and for the return it is the old one again; \
              of one that changes in the Secret too: `tests/cifs`",
        cells: [Refuses(&["does not accept the user"]), Succeeds, Succeeds],
        length: Length::Quick,
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
        how: "the sub-directory is what `mfsymlinks` takes for a symlink, with that option and without",
        cells: [Refuses(&["symlink"]), Never(MOUNT_ONLY), Never(MOUNT_ONLY)],
        length: Length::Quick,
    },
    Row {
        fault: Fault::Climbing,
        how: "the sub-directory, and the name of the share, have `..` in them",
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

/// Of the user `test`, whose password is the marker that must be nowhere.
fn share(path: &str) -> Value {
    json!({
        "networkPath": format!("//10.99.0.2/{path}"),
        "kubernetes.io/secret/username": "dGVzdA==",
        "kubernetes.io/secret/password": SECRET_ENCODED,
    })
}

fn with(mut options: Value, key: &str, value: &str) -> Value {
    options[key] = json!(value);
    options
}

/// A file that the mount option `mfsymlinks` makes a symlink to `../t2`; anybody who may write to a share can write it.
fn link() -> String {
    format!("{:<1067}", "XSym\n0005\n7703b115dbdcbdc38cd6a27741da2e71\n../t2\n")
}

impl Backend for Cifs {
    fn name(&self) -> &'static str {
        "cifs"
    }

    fn program(&self) -> Program {
        Program::Cifs
    }

    fn server(&self) -> &'static str {
        "smb"
    }

    fn rows(&self) -> &'static [Row] {
        ROWS
    }

    fn directory(&self) -> PathBuf {
        "/srv/smb".into()
    }

    fn prepare(&self) {
        static PASSWORD: Once = Once::new();
        PASSWORD.call_once(|| server(&["password", SECRET]));
        for tenant in ["t1", "t2", "subject"] {
            open_directory(&self.directory().join(tenant));
        }
        fs::write(self.directory().join("t1/link"), link()).unwrap();
    }

    fn options(&self, fault: Fault) -> Vec<Value> {
        let linked = share("data/t1/link");
        match fault {
            Fault::Missing => vec![share("nope"), share("data/subject/nope")],
            Fault::NoName => vec![with(share("data"), "networkPath", "//no-such-host.invalid/data")],
            Fault::LinkInExport => {
                let below = share("data/t1/link/subject");
                vec![with(linked.clone(), "mountOptions", "mfsymlinks"), linked, below]
            }
            Fault::Climbing => {
                vec![
                    share("data/../t2"),
                    share(r"data\t1\..\t2"),
                    with(share("data"), "subdirectory", "../t2"),
                ]
            }
            Fault::Replaced => vec![share("data/subject")],
            _ => vec![share("data")],
        }
    }

    fn begin(&self, fault: Fault) {
        match fault {
            Fault::Denied => {
                configure("s/^\\[data\\]/&\\nvalid users = nobody/");
                restart();
            }
            Fault::WrongSecret => {
                server(&["password", "another one"]);
                restart();
            }
            Fault::Replaced => {
                let subject = self.directory().join("subject");
                remove(&subject);
                open_directory(&subject);
                fs::write(subject.join("known"), "known").unwrap();
            }
            other => panic!("{other:?}"),
        }
    }

    fn end(&self, fault: Fault) {
        match fault {
            Fault::Denied => configure("/^valid users/d"),
            Fault::WrongSecret => server(&["password", SECRET]),
            _ => return,
        }
        restart();
    }

    fn fail_points(&self) -> [&'static [&'static str]; 2] {
        [&["network.claimed", "network.mounted"], &["network.unmounted"]]
    }
}

/// Changes the server's configuration so.
fn configure(script: &str) {
    tool("sed", &["-i", script, "/etc/samba/smb.conf"]);
}

/// Ends all sessions.
fn restart() {
    server(&["stop", "smb"]);
    server(&["start", "smb"]);
}

fn open_directory(directory: &Path) {
    fs::create_dir_all(directory).unwrap();
    fs::set_permissions(directory, Permissions::from_mode(0o777)).unwrap();
}

/// The files of a directory that this test filled, and the directory.
fn remove(directory: &Path) {
    for entry in fs::read_dir(directory).unwrap() {
        fs::remove_file(entry.unwrap().path()).unwrap();
    }
    fs::remove_dir(directory).unwrap();
}
