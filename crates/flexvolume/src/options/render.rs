//! The map of options as the text that a host passes.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt::Write as _;

use base64::Engine as _;

use super::{Access, Options, reserved};
use crate::Secret;
use crate::json::{Escapes, push_string};

/// How the strings of the map are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Encoding {
    /// Byte for byte what Go's `encoding/json` writes, and so what Kubernetes passes.
    #[default]
    Kubernetes,
    /// The same value with white space, control characters and backslashes inside strings written as `\u00XX`, so
    /// that it survives a shell driver's unquoted `$*` and dash's `echo`.
    Escaped,
}

/// Which spellings of the fsGroup key are written.
///
/// Kubernetes sends `kubernetes.io/mounterArgs.FsGroup` since 1.15 and sent `kubernetes.io/fsGroup` before; its
/// documentation never changed, so drivers look for either.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum FsGroupKeys {
    /// `kubernetes.io/mounterArgs.FsGroup` alone, as Kubernetes does.
    #[default]
    Current,
    /// `kubernetes.io/fsGroup` alone, as Kubernetes did up to 1.14.
    Legacy,
    /// Both, with the same value.
    Both,
}

/// Which of the keys that Kubernetes reserves are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ReservedKeys {
    /// All of them, as Kubernetes does.
    #[default]
    All,
    /// Those that every version of Kubernetes has sent: the file system type, the access and the secrets. Some drivers
    /// refuse a key that they do not know.
    Minimal,
}

/// How the map is written: the encoding and the keys. An [`Encoding`] alone converts into it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Rendering {
    /// How strings are written.
    pub encoding: Encoding,
    /// Which fsGroup keys are written.
    pub fs_group: FsGroupKeys,
    /// Which reserved keys are written.
    pub reserved: ReservedKeys,
}

impl From<Encoding> for Rendering {
    fn from(encoding: Encoding) -> Self {
        Self { encoding, ..Self::default() }
    }
}

/// A value before it is written; a secret is encoded straight into the text, without a copy in between.
enum Piece<'a> {
    Text(&'a str),
    Number(i64),
    Secret(&'a Secret),
}

type Pieces<'a> = BTreeMap<Cow<'a, str>, Piece<'a>>;

impl Options {
    /// Writes the map for a driver: compact, keys sorted by bytes, an option of the manifest wins over a reserved
    /// key of the same name (as in Kubernetes v1.37 `pkg/volume/flexvolume/driver-call.go`).
    ///
    /// The text holds the secrets: pass it to the driver and to nobody else.
    #[must_use]
    pub fn to_json(&self, rendering: impl Into<Rendering>) -> String {
        let rendering = rendering.into();
        let escapes = match rendering.encoding {
            Encoding::Kubernetes => Escapes::Go,
            Encoding::Escaped => Escapes::Shell,
        };
        let mut out = String::from("{");
        for (key, piece) in self.pieces(rendering) {
            if out.len() > 1 {
                out.push(',');
            }
            push_string(&mut out, &key, escapes);
            out.push(':');
            push_piece(&mut out, &piece, escapes);
        }
        out.push('}');
        out
    }

    fn pieces(&self, rendering: Rendering) -> Pieces<'_> {
        let access = match self.access {
            Access::ReadWrite => "rw",
            Access::ReadOnly => "ro",
        };
        let mut pieces = Pieces::new();
        let mut text = |key: &'static str, value| pieces.insert(Cow::Borrowed(key), Piece::Text(value));
        text(reserved::FS_TYPE, &self.fs_type);
        text(reserved::READ_WRITE, access);
        if rendering.reserved == ReservedKeys::All {
            self.add_later_keys(&mut pieces, rendering.fs_group);
        }
        for (name, secret) in &self.secrets {
            let key = format!("{}{name}", reserved::SECRET_PREFIX);
            pieces.insert(Cow::Owned(key), Piece::Secret(secret));
        }
        for (key, value) in &self.user {
            pieces.insert(Cow::Borrowed(key), Piece::Text(value));
        }
        pieces
    }

    /// The keys that came with Kubernetes 1.6 and later.
    fn add_later_keys<'a>(&'a self, pieces: &mut Pieces<'a>, keys: FsGroupKeys) {
        let mut text = |key: &'static str, value| pieces.insert(Cow::Borrowed(key), Piece::Text(value));
        text(reserved::VOLUME_NAME, &self.volume_name);
        if let Some(pod) = &self.pod {
            text(reserved::POD_NAME, &pod.name);
            text(reserved::POD_NAMESPACE, &pod.namespace);
            text(reserved::POD_UID, &pod.uid);
            text(reserved::SERVICE_ACCOUNT, &pod.service_account);
        }
        let Some(group) = self.fs_group else { return };
        if matches!(keys, FsGroupKeys::Current | FsGroupKeys::Both) {
            pieces.insert(Cow::Borrowed(reserved::FS_GROUP), Piece::Number(group));
        }
        if matches!(keys, FsGroupKeys::Legacy | FsGroupKeys::Both) {
            pieces.insert(Cow::Borrowed(reserved::OLD_FS_GROUP), Piece::Number(group));
        }
    }
}

fn push_piece(out: &mut String, piece: &Piece<'_>, escapes: Escapes) {
    match piece {
        Piece::Text(text) => push_string(out, text, escapes),
        Piece::Number(number) => {
            // Writing to a `String` cannot fail.
            let _ = write!(out, "\"{number}\"");
        }
        Piece::Secret(secret) => {
            out.push('"');
            reserved::BASE64.encode_string(secret.expose(), out);
            out.push('"');
        }
    }
}
