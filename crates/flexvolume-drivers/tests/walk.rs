//! A random walk over a few volumes of `loop`, in which calls die at random points, against a model of what must be
//! there. `FLEXVOL_WALK_STEPS` says how long it is, `FLEXVOL_WALK_SEED` repeats one.

#![allow(
    clippy::unwrap_used,
    clippy::print_stderr,
    clippy::panic,
    reason = "a test may stop at the first surprise"
)]

mod support;

use std::collections::BTreeMap;
use std::fs;

use serde_json::{Value, json};
use support::{Answer, Program, World, in_private_mounts};

const MIB: u64 = 1 << 20;
const NAMES: [&str; 5] = ["a", "b/c", "..", "-d", "e f"];
const POINTS: [&str; 21] = [
    "image.recorded",
    "image.created",
    "image.allocated",
    "image.copied",
    "image.formatted",
    "image.synced",
    "image.renamed",
    "image.ready",
    "image.grown",
    "image.refreshed",
    "image.removing",
    "image.trashed",
    "image.overwritten",
    "image.deleted",
    "device.attached",
    "device.mounted",
    "device.unmounted",
    "device.opened",
    "atomic.written",
    "atomic.renamed",
    "administration.deleted",
];

/// Numbers that a seed determines (xorshift).
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 33).unwrap() % sides
    }

    fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.roll(from.len())]
    }
}

/// What must be there of a volume.
#[derive(Debug, Clone, PartialEq)]
enum Known {
    /// Nothing.
    Absent,
    /// A volume in order, with this size, and what was written into it last.
    Ready { size: u64, allocation: &'static str, content: Option<String> },
    /// A creation or deletion was killed: either of both.
    Uncertain,
}

struct Walk {
    world: World,
    dice: Dice,
    model: BTreeMap<&'static str, Known>,
    written: u32,
}

/// How a call ended.
#[derive(Debug, PartialEq)]
enum End {
    Done,
    Killed,
}

impl Walk {
    fn options(volume: &str, user: &[(&str, &str)]) -> String {
        let mut map = json!({
            "kubernetes.io/fsType": "", "kubernetes.io/readwrite": "rw", "kubernetes.io/pvOrVolumeName": volume,
        });
        for (key, value) in user {
            map[*key] = json!(value);
        }
        map.to_string()
    }

    /// Makes a call that must succeed, unless it is killed, which every third one may be.
    fn call(&mut self, arguments: &[&str]) -> End {
        let point = format!("{}#{}=abort", self.dice.pick(&POINTS), 1 + self.dice.roll(2));
        let kill = self.dice.roll(3) == 0;
        let variables: &[(&str, &str)] = if kill { &[("FLEXVOL_FAILPOINT", &point)] } else { &[] };
        let answer = self.world.call_with(Program::Loop, arguments, variables);
        if answer.signal.is_some() {
            return End::Killed;
        }
        assert_eq!(answer.status(), "Success", "{arguments:?} {answer:?}");
        End::Done
    }

    /// Makes a call until it is not killed.
    fn insist(&mut self, arguments: &[&str]) {
        while self.call(arguments) == End::Killed {
            self.check();
        }
    }

    fn list(&self) -> Vec<Value> {
        let answer: Answer = self.world.call(Program::Loop, &["listvolumes", "{}"]).success();
        answer.json["volumes"].as_array().unwrap().clone()
    }

    /// What the driver says agrees with the model, and nothing is there that no call could have left.
    fn check(&self) {
        let listed = self.list();
        for volume in &listed {
            let orphan = volume["orphan"].as_str();
            assert!(matches!(orphan, None | Some("halfMade" | "halfRemoved")), "{volume}");
            assert!(matches!(volume["state"].as_str(), Some("ready" | "creating" | "removing")), "{volume}");
        }
        for (name, known) in &self.model {
            let found = listed.iter().find(|volume| volume["id"] == **name);
            match known {
                Known::Absent => assert!(found.is_none(), "{name}: {found:?}"),
                Known::Ready { size, .. } => {
                    let found = found.unwrap_or_else(|| panic!("{name} is lost"));
                    assert_eq!(
                        (found["state"].as_str(), found["size"].as_u64()),
                        (Some("ready"), Some(*size)),
                        "{name}"
                    );
                }
                Known::Uncertain => {}
            }
        }
    }

    fn step(&mut self) {
        let name = self.dice.pick(&NAMES);
        match (self.model[name].clone(), self.dice.roll(6)) {
            (Known::Uncertain, 0..=2) | (Known::Ready { .. }, 0) => self.delete(name),
            (Known::Absent, 0) => self.delete(name),
            (Known::Uncertain | Known::Absent, 1..=3) => self.create(name),
            (Known::Uncertain, _) => self.delete(name),
            (Known::Absent, _) => self.copy(name),
            (Known::Ready { .. }, 1) => self.grow(name),
            (Known::Ready { .. }, _) => self.write(name),
        }
        self.check();
    }

    fn delete(&mut self, name: &'static str) {
        let erase = self.dice.pick(&["none", "discard", "zero"]);
        let end = self.call(&["deletevolume", &Self::options(name, &[("erase", erase)])]);
        self.model.insert(name, if end == End::Done { Known::Absent } else { Known::Uncertain });
    }

    fn create(&mut self, name: &'static str) {
        if self.model[name] == Known::Uncertain {
            // Whatever is there: a volume of other properties would be in the way.
            self.insist(&["deletevolume", &Self::options(name, &[])]);
        }
        let allocation = self.dice.pick(&["thin", "reserved"]);
        let user = [("size", "1Mi"), ("allocation", allocation)];
        let end = self.call(&["createvolume", &Self::options(name, &user)]);
        let made = Known::Ready { size: MIB, allocation, content: None };
        self.model.insert(name, if end == End::Done { made } else { Known::Uncertain });
    }

    fn copy(&mut self, name: &'static str) {
        let ready = |(name, known): (&&'static str, &Known)| match known {
            Known::Ready { size, content, .. } => Some((*name, *size, content.clone())),
            _ => None,
        };
        let sources: Vec<_> = self.model.iter().filter_map(ready).collect();
        let Some((source, size, content)) = sources.get(self.dice.roll(sources.len().max(1))).cloned() else {
            return;
        };
        let allocation = self.dice.pick(&["thin", "reserved"]);
        let user = [("size", &*size.to_string()), ("allocation", allocation), ("source", source)];
        let end = self.call(&["createvolume", &Self::options(name, &user)]);
        let made = Known::Ready { size, allocation, content };
        self.model.insert(name, if end == End::Done { made } else { Known::Uncertain });
    }

    fn grow(&mut self, name: &'static str) {
        let Known::Ready { size, allocation, content } = self.model[name].clone() else { return };
        let grown = size + MIB;
        let user = [("size", &*size.to_string()), ("allocation", allocation)];
        // A kill leaves it as it was, or grown and not recorded; the next call makes both the same.
        self.insist_grown(
            &["expandvolume", &Self::options(name, &user), "/x", &grown.to_string(), "0"],
            name,
        );
        self.model.insert(name, Known::Ready { size: grown, allocation, content });
    }

    fn insist_grown(&mut self, arguments: &[&str], name: &'static str) {
        let before = self.model.insert(name, Known::Uncertain);
        while self.call(arguments) == End::Killed {
            let listed = self.list();
            let state =
                listed.iter().find(|volume| volume["id"] == name).map(|volume| volume["state"].clone());
            assert_eq!(state, Some(json!("ready")), "{before:?}");
        }
    }

    /// Mounts, finds what was written before, writes, unmounts.
    fn write(&mut self, name: &'static str) {
        let Known::Ready { size, allocation, content } = self.model[name].clone() else { return };
        let options = Self::options(name, &[("size", &*size.to_string()), ("allocation", allocation)]);
        let target = self.world.target();
        let target = target.to_str().unwrap().to_owned();
        self.insist(&["mountdevice", &target, "", &options]);
        let file = self.world.target().join("file");
        assert_eq!(fs::read_to_string(&file).ok(), content, "{name}");
        let busy = self.world.call(Program::Loop, &["deletevolume", &Self::options(name, &[])]);
        assert!(busy.message().contains("is still in use"), "{busy:?}");
        self.written += 1;
        let text = format!("{name} {}", self.written);
        fs::write(&file, &text).unwrap();
        self.insist(&["unmountdevice", &target]);
        self.model.insert(name, Known::Ready { size, allocation, content: Some(text) });
    }
}

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok()?.parse().ok()
}

fn random() -> u64 {
    let uuid = fs::read_to_string("/proc/sys/kernel/random/uuid").unwrap();
    u64::from_str_radix(&uuid[..8], 16).unwrap()
}

#[test]
fn nothing_is_lost_and_nothing_is_left_whenever_calls_die() {
    let name = "nothing_is_lost_and_nothing_is_left_whenever_calls_die";
    if !in_private_mounts(name) {
        return;
    }
    let seed = number("FLEXVOL_WALK_SEED").unwrap_or_else(random) | 1;
    let steps = number("FLEXVOL_WALK_STEPS").unwrap_or(100);
    eprintln!("FLEXVOL_WALK_SEED={seed} FLEXVOL_WALK_STEPS={steps} repeats this walk");
    let model = NAMES.into_iter().map(|name| (name, Known::Absent)).collect();
    let mut walk = Walk {
        world: World::new(),
        dice: Dice(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1),
        model,
        written: 0,
    };
    for _ in 0..steps {
        walk.step();
    }
    for name in NAMES {
        walk.insist_deleted(name);
    }
    let left = walk.world.files("loop");
    let left: Vec<_> =
        left.iter().filter(|name| !name.starts_with('.') || !name.ends_with(".lock")).collect();
    assert!(left.is_empty(), "{left:?}");
    walk.world.assert_no_loops();
}

impl Walk {
    fn insist_deleted(&mut self, name: &'static str) {
        self.model.insert(name, Known::Uncertain);
        self.insist(&["deletevolume", &Self::options(name, &[])]);
    }
}
