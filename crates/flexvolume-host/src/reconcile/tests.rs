//! The reconciler with a clock of our own.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use flexvolume::{Access, DriverName, PodUid, VolumeName};

use super::*;
use crate::lifecycle::{Keeper, Known};
use crate::spec::{SecretReference, Source, VolumeSpec};

const DRIVER: &str = "example.com/memory";

struct World {
    reconciler: Reconciler,
    now: Instant,
}

fn driver(name: &str) -> DriverName {
    DriverName::parse(name).unwrap()
}

fn uid(pod: &str) -> PodUid {
    PodUid::parse(pod).unwrap()
}

fn key(pod: &str, volume: &str) -> VolumeKey {
    VolumeKey { pod: uid(pod), driver: driver(DRIVER), volume: VolumeName::parse(volume).unwrap() }
}

fn volume(name: &str, driver: &str, source: Source) -> PodVolume {
    let spec = VolumeSpec {
        name: VolumeName::parse(name).unwrap(),
        driver: driver.to_owned(),
        fs_type: String::new(),
        access: Access::ReadWrite,
        options: BTreeMap::new(),
        secret: None,
        source,
    };
    PodVolume { pod_volume: name.to_owned(), spec }
}

fn pod(name: &str, volumes: Vec<PodVolume>) -> PodWish {
    let pod = Pod {
        uid: uid(name),
        name: name.to_owned(),
        namespace: "default".to_owned(),
        service_account: String::new(),
    };
    PodWish::Volumes(Arc::new(WantedPod { pod, volumes, arguments: MounterArguments::default() }))
}

fn inline(names: &[&str]) -> Vec<PodVolume> {
    names.iter().map(|name| volume(name, DRIVER, Source::Inline)).collect()
}

fn disk(capacity: u64) -> Vec<PodVolume> {
    vec![volume("disk", DRIVER, Source::PersistentVolume { mode: None, capacity: Some(capacity) })]
}

impl World {
    fn empty(bounds: Bounds) -> Self {
        Self { reconciler: Reconciler::new(bounds, BackOff::new(1)), now: Instant::now() }
    }

    /// With a driver that can be used.
    fn new() -> Self {
        let mut world = Self::empty(Bounds::default());
        world.drivers(Attaching::No);
        world.reconciler.populated(world.now);
        world
    }

    fn drivers(&mut self, attaching: Attaching) {
        self.reconciler.set_driver(&driver(DRIVER), DriverState::Ready(attaching), self.now);
        self.reconciler.discovered();
    }

    fn wish(&mut self, name: &str, wish: &PodWish) -> Vec<Notice> {
        self.reconciler.set_pod(&uid(name), wish, self.now)
    }

    /// What is begun now.
    fn begun(&mut self) -> Vec<(Task, VolumeKey)> {
        std::iter::from_fn(|| self.reconciler.next(self.now))
            .map(|assignment| (assignment.operation.task(), assignment.key))
            .collect()
    }

    fn ends(&mut self, key: &VolumeKey, ending: &Ending) {
        self.reconciler.finished(key, ending, self.now);
    }

    fn mounts(&mut self, key: &VolumeKey) {
        self.ends(key, &Ending::Mounted(Standing::Mounted));
    }

    fn fails(&mut self, key: &VolumeKey) {
        self.ends(key, &Ending::Failed("no".to_owned()));
    }

    fn pass(&mut self, time: Duration) {
        self.now += time;
    }

    fn known(&mut self, key: &VolumeKey, standing: Standing, keeper: Option<Keeper>) {
        let (pod_name, spec, resized, error) = (None, None, None, None);
        let known = Known { key: key.clone(), pod_name, standing, spec, resized, keeper, error };
        self.reconciler.take_stock(vec![known], self.now);
    }

    fn stages(&self) -> Vec<(VolumeKey, Stage)> {
        self.reconciler.view().map(|view| (view.key, view.stage)).collect()
    }
}

#[test]
fn a_volume_is_mounted_when_its_pod_comes_and_unmounted_when_it_goes() {
    let mut world = World::new();
    let data = key("a", "data");
    world.wish("a", &pod("a", inline(&["data"])));
    assert_eq!(world.begun(), [(Task::Mount, data.clone())]);
    assert!(!world.reconciler.is_settled());
    world.mounts(&data);
    assert!(world.reconciler.is_settled());
    assert_eq!(world.begun(), []);
    world.wish("a", &PodWish::Gone);
    assert_eq!(world.begun(), [(Task::Unmount, data.clone())]);
    world.ends(&data, &Ending::Unmounted);
    assert_eq!(world.stages(), []);
    assert_eq!(world.reconciler.running(), 0);
}

#[test]
fn volumes_of_a_pod_go_one_after_the_other_and_those_of_others_beside_them() {
    let mut world = World::new();
    world.wish("a", &pod("a", inline(&["one", "two"])));
    world.wish("b", &pod("b", inline(&["one"])));
    assert_eq!(world.begun(), [(Task::Mount, key("a", "one")), (Task::Mount, key("b", "one"))]);
    world.mounts(&key("a", "one"));
    assert_eq!(world.begun(), [(Task::Mount, key("a", "two"))]);
}

#[test]
fn one_that_fails_waits_longer_each_time_and_holds_up_no_other() {
    let mut world = World::new();
    let bad = key("a", "bad");
    world.wish("a", &pod("a", inline(&["bad", "good"])));
    let mut pauses = Vec::new();
    for round in 0..10 {
        let begun = world.begun();
        assert_eq!(begun[0], (Task::Mount, bad.clone()), "round {round}");
        world.fails(&bad);
        if round == 0 {
            assert_eq!(world.begun(), [(Task::Mount, key("a", "good"))]);
            world.mounts(&key("a", "good"));
        }
        assert_eq!(world.begun(), []);
        let wake = world.reconciler.wake_at(world.now).unwrap();
        pauses.push(wake - world.now);
        world.now = wake;
    }
    assert!(pauses[0] >= Duration::from_millis(400) && pauses[0] <= Duration::from_millis(600));
    assert!(
        pauses[1] > pauses[0]
            && pauses[9] >= Duration::from_secs(96)
            && pauses[9] <= Duration::from_secs(120)
    );
}

#[test]
fn a_retry_on_request_is_immediate_and_counts_on() {
    let mut world = World::new();
    let data = key("a", "data");
    world.wish("a", &pod("a", inline(&["data"])));
    world.begun();
    world.fails(&data);
    assert!(world.reconciler.retry(&data, world.now));
    assert_eq!(world.begun(), [(Task::Mount, data.clone())]);
    world.fails(&data);
    assert_eq!(world.reconciler.view().next().unwrap().failures, 2);
    assert!(!world.reconciler.retry(&key("a", "other"), world.now));
}

#[test]
fn a_wish_that_changes_while_an_operation_runs_is_followed_when_it_has_ended() {
    let mut world = World::new();
    let data = key("a", "data");
    world.wish("a", &pod("a", inline(&["data"])));
    world.begun();
    let notices = world.wish("a", &PodWish::Gone);
    assert_eq!(notices, [Notice { key: data.clone(), kind: NoticeKind::Superseded }]);
    assert_eq!(world.begun(), [], "one operation at a time");
    world.fails(&data);
    assert_eq!(world.begun(), [(Task::Unmount, data.clone())], "at once: the failure was another matter");
    assert_eq!(world.wish("a", &pod("a", inline(&["data"]))).len(), 1);
    world.ends(&data, &Ending::Unmounted);
    assert_eq!(world.begun(), [(Task::Mount, data)]);
}

#[test]
fn an_operation_that_is_no_longer_wanted_is_dropped_from_the_queue() {
    let mut world = World::new();
    let data = key("a", "data");
    world.wish("a", &pod("a", inline(&["data"])));
    world.begun();
    world.fails(&data);
    world.wish("a", &PodWish::Gone);
    assert_eq!(world.begun(), [(Task::Unmount, data.clone())]);
    world.ends(&data, &Ending::Unmounted);
    world.pass(Duration::from_secs(600));
    assert_eq!(world.begun(), []);
    assert_eq!(world.reconciler.wake_at(world.now), None);
}

#[test]
fn nothing_is_unmounted_before_everything_is_known() {
    let mut world = World::empty(Bounds::default());
    world.drivers(Attaching::No);
    let (old, kept, wanted) = (key("old", "data"), key("hand", "data"), key("new", "data"));
    world.known(&old, Standing::Mounted, Some(Keeper::Agent));
    world.known(&kept, Standing::Mounted, Some(Keeper::Person));
    world.known(&wanted, Standing::Mounted, Some(Keeper::Agent));
    world.wish("new", &pod("new", inline(&["data"])));
    assert_eq!(world.begun(), []);
    world.reconciler.populated(world.now);
    assert_eq!(world.begun(), [(Task::Unmount, old)]);
    assert!(world.stages().contains(&(kept, Stage::LeftAlone)));
    assert!(world.stages().contains(&(wanted, Stage::Mounted)), "no call for what is mounted");
}

#[test]
fn a_later_look_adds_what_was_not_known_and_changes_nothing_else() {
    let mut world = World::new();
    let data = key("a", "data");
    world.wish("a", &pod("a", inline(&["data"])));
    world.begun();
    world.fails(&data);
    let known = |key: VolumeKey| {
        let (pod_name, spec, resized, error, keeper) = (None, None, None, None, None);
        Known { key, pod_name, standing: Standing::Mounted, spec, resized, keeper, error }
    };
    world.reconciler.take_stock_of_others(vec![known(data.clone()), known(key("lost", "data"))], world.now);
    assert_eq!(world.begun(), [(Task::Unmount, key("lost", "data"))]);
    assert!(world.stages().contains(&(data, Stage::BackingOff)), "it is not taken for mounted");
}

#[test]
fn what_nobody_can_judge_is_left_alone() {
    let mut world = World::new();
    let data = key("a", "data");
    world.known(&data, Standing::Unclear, Some(Keeper::Agent));
    world.wish("a", &PodWish::AsIs);
    assert_eq!(world.begun(), []);
    world.wish("a", &pod("a", inline(&["data"])));
    assert_eq!(world.begun(), [(Task::Mount, data)]);
}

#[test]
fn volumes_wait_for_their_driver_and_continue_at_once_when_it_is_back() {
    let mut world = World::empty(Bounds::default());
    world.reconciler.populated(world.now);
    let data = key("a", "data");
    world.wish("a", &pod("a", inline(&["data"])));
    assert_eq!(world.begun(), []);
    let why = |world: &World| world.reconciler.view().next().unwrap().why.unwrap();
    assert!(why(&world).contains("is being asked"));
    world.reconciler.discovered();
    assert!(why(&world).contains("is not installed"));
    world.drivers(Attaching::No);
    assert_eq!(world.begun(), [(Task::Mount, data.clone())]);
    world.fails(&data);
    world.reconciler.set_driver(&driver(DRIVER), DriverState::Broken("exit 1".to_owned()), world.now);
    world.pass(Duration::from_secs(600));
    assert_eq!(world.begun(), [], "no attempt with a driver that is known to be broken");
    assert!(why(&world).contains("not usable: exit 1"));
    world.wish("a", &PodWish::Gone);
    assert_eq!(world.stages(), [(data.clone(), Stage::WaitingForDriver)], "not forgotten");
    world.drivers(Attaching::No);
    assert_eq!(world.begun(), [(Task::Unmount, data)]);
}

#[test]
fn a_driver_that_hangs_takes_no_room_from_others() {
    let bounds = Bounds { per_driver: 2, overall: 3, at_most: 100 };
    let mut world = World::empty(bounds);
    world.drivers(Attaching::No);
    let other = "example.com/other";
    world.reconciler.set_driver(&driver(other), DriverState::Ready(Attaching::No), world.now);
    for number in 0..9 {
        let name = format!("slow-{number}");
        world.wish(&name, &pod(&name, inline(&["data"])));
        let name = format!("quick-{number}");
        world.wish(&name, &pod(&name, vec![volume("data", other, Source::Inline)]));
    }
    let count = |begun: &[(Task, VolumeKey)], name: &str| {
        begun.iter().filter(|(_, key)| key.driver.as_str() == name).count()
    };
    let first = world.begun();
    assert_eq!(first.len(), 3);
    assert!(count(&first, DRIVER) <= 2 && count(&first, other) <= 2, "{first:?}");
    // Nothing ends. After a while those that run count as slow.
    world.now = world.reconciler.wake_at(world.now).unwrap();
    let mut all = first;
    all.extend(world.begun());
    assert_eq!((count(&all, DRIVER), count(&all, other)), (2, 2), "never more than two of a driver");
    let quick: Vec<_> = all.into_iter().filter(|(_, key)| key.driver.as_str() == other).collect();
    for (_, key) in quick {
        world.mounts(&key);
    }
    assert_eq!(world.begun().len(), 2);
}

#[test]
fn a_device_that_pods_share_is_worked_on_for_one_pod_at_a_time() {
    for (attaching, at_a_time) in [(Attaching::Yes, 1), (Attaching::No, 2)] {
        let mut world = World::new();
        world.drivers(attaching);
        world.wish("a", &pod("a", disk(1)));
        world.wish("b", &pod("b", disk(1)));
        assert_eq!(world.begun().len(), at_a_time, "{attaching:?}");
        world.mounts(&key("a", "disk"));
        assert_eq!(world.begun().len(), 2 - at_a_time);
    }
    let mut world = World::new();
    world.drivers(Attaching::Yes);
    world.wish("a", &pod("a", inline(&["data"])));
    world.wish("b", &pod("b", inline(&["data"])));
    assert_eq!(world.begun().len(), 2, "inline volumes of one name are two devices");
}

#[test]
fn a_volume_grows_when_its_capacity_is_raised_and_only_then() {
    let mut world = World::new();
    let disk_key = key("a", "disk");
    world.wish("a", &pod("a", disk(10)));
    world.begun();
    world.mounts(&disk_key);
    assert_eq!(world.begun(), []);
    assert_eq!(world.wish("a", &pod("a", disk(20))), [], "no notice: it is done");
    assert_eq!(world.begun(), [(Task::Expand, disk_key.clone())]);
    world.fails(&disk_key);
    assert_eq!(world.stages(), [(disk_key.clone(), Stage::BackingOff)]);
    world.pass(Duration::from_secs(1));
    assert_eq!(world.begun(), [(Task::Expand, disk_key.clone())]);
    world.ends(&disk_key, &Ending::Expanded(20));
    world.wish("a", &pod("a", disk(15)));
    assert_eq!(world.begun(), [], "a volume never shrinks");
}

#[test]
fn what_is_described_otherwise_while_mounted_is_told_and_left() {
    let mut world = World::new();
    world.wish("a", &pod("a", inline(&["data"])));
    world.begun();
    world.mounts(&key("a", "data"));
    let mut changed = inline(&["data"]);
    changed[0].spec.options.insert("size".to_owned(), "2Gi".to_owned());
    let notices = world.wish("a", &pod("a", changed));
    assert_eq!(notices, [Notice { key: key("a", "data"), kind: NoticeKind::ChangedWhileMounted }]);
    assert_eq!(world.begun(), []);
}

#[test]
fn volumes_are_found_by_the_secret_that_they_were_mounted_with() {
    let mut world = World::new();
    let mut volumes = inline(&["data", "plain"]);
    volumes[0].spec.secret = Some(SecretReference { namespace: None, name: "key".to_owned() });
    world.wish("a", &pod("a", volumes));
    let found =
        |world: &World, namespace| world.reconciler.mounted_with_secret(namespace, "key").collect::<Vec<_>>();
    assert_eq!(found(&world, "default"), [], "no driver has been given it yet");
    world.begun();
    world.mounts(&key("a", "data"));
    assert_eq!(found(&world, "default"), [key("a", "data")]);
    assert_eq!(found(&world, "other"), []);
}

#[test]
fn what_somebody_unmounted_is_mounted_again() {
    let mut world = World::new();
    let data = key("a", "data");
    world.wish("a", &pod("a", inline(&["data"])));
    world.begun();
    assert_eq!(world.reconciler.lost(&data, world.now), None, "it is being worked on");
    world.mounts(&data);
    assert_eq!(world.reconciler.mounted().collect::<Vec<_>>(), std::slice::from_ref(&data));
    let notice = world.reconciler.lost(&data, world.now).unwrap();
    assert_eq!(notice.kind, NoticeKind::UnmountedBehindUs);
    assert_eq!(world.begun(), [(Task::Mount, data)]);
}

#[test]
fn ten_thousand_volumes_are_no_trouble() {
    let mut world = World::new();
    let begun = Instant::now();
    for number in 0..10_000 {
        let name = format!("pod-{number}");
        world.wish(&name, &pod(&name, inline(&["data"])));
    }
    let mut done = 0;
    loop {
        let keys = world.begun();
        if keys.is_empty() {
            break;
        }
        done += keys.len();
        keys.iter().for_each(|(_, key)| world.mounts(key));
    }
    assert_eq!(done, 10_000);
    assert!(world.reconciler.is_settled());
    assert!(begun.elapsed() < Duration::from_secs(20), "{:?}", begun.elapsed());
}
