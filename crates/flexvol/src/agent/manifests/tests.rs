//! Manifest files that come, go, break and contradict each other.

use super::*;

const POD: &str = "apiVersion: v1\nkind: Pod\nmetadata: {name: NAME, uid: UID}\nspec: {containers: [], volumes: [{name: data, flexVolume: {driver: example.com/memory}}]}\n";

fn pod(name: &str) -> String {
    POD.replace("NAME", name).replace("UID", name)
}

fn claiming(name: &str) -> String {
    format!(
        "apiVersion: v1\nkind: Pod\nmetadata: {{name: {name}, uid: {name}}}\nspec: {{containers: [], volumes: [{{name: data, persistentVolumeClaim: {{claimName: data}}}}]}}\n"
    )
}

const DISK: &str = "apiVersion: v1\nkind: PersistentVolume\nmetadata: {name: disk}\nspec: {capacity: {storage: SIZE}, claimRef: {name: data}, flexVolume: {driver: example.com/loop}}\n---\napiVersion: v1\nkind: PersistentVolumeClaim\nmetadata: {name: data}\nspec: {volumeName: disk}\n";

fn disk(size: &str) -> String {
    DISK.replace("SIZE", size)
}

fn manifests() -> Manifests {
    remembering(&[])
}

fn remembering(owners: &[(&str, &str)]) -> Manifests {
    let owners =
        owners.iter().map(|(pod, file)| (PodUid::parse(*pod).unwrap(), (*file).to_owned())).collect();
    Manifests::new(Reading::Tolerant, Memory::Known(owners))
}

fn text(file: &str, text: impl Into<String>) -> (String, News) {
    (file.to_owned(), News::Text(text.into()))
}

fn removed(file: &str) -> (String, News) {
    (file.to_owned(), News::Removed)
}

/// The wishes in short: `+pod`, `-pod`, `?pod`.
fn wishes(update: &Update) -> Vec<String> {
    let word = |(uid, wish): &(PodUid, PodWish)| match wish {
        PodWish::Volumes(_) => format!("+{uid}"),
        PodWish::AsIs => format!("?{uid}"),
        PodWish::Gone => format!("-{uid}"),
    };
    update.wishes.iter().map(word).collect()
}

fn owners(update: &Update) -> Vec<String> {
    let word =
        |(pod, file): &(PodUid, Option<String>)| format!("{pod} in {}", file.as_deref().unwrap_or("nothing"));
    update.owners.iter().map(word).collect()
}

#[test]
fn pods_come_and_go_with_their_files() {
    let mut manifests = manifests();
    let update = manifests.update(vec![text("a.yaml", pod("a")), text("b.yaml", pod("b"))]);
    assert_eq!(wishes(&update), ["+a", "+b"]);
    assert!(update.complete && update.troubles.is_empty());
    assert_eq!(owners(&update), ["a in a.yaml", "b in b.yaml"]);
    assert_eq!(wishes(&manifests.update(vec![text("a.yaml", pod("a"))])), Vec::<String>::new(), "no change");
    assert_eq!(wishes(&manifests.update(vec![removed("a.yaml")])), ["-a"]);
    assert_eq!(wishes(&manifests.update(vec![text("b.yaml", pod("c"))])), ["-b", "+c"]);
}

#[test]
fn an_invalid_file_takes_nothing_away_until_it_is_removed() {
    for bad in ["kind: [", "", "# nothing\n", "kind: Pod\nmetadata: {}\n", "\u{0}", "kind: Pod\nspec: 1"] {
        let mut manifests = manifests();
        manifests.update(vec![text("a.yaml", pod("a"))]);
        let update = manifests.update(vec![text("a.yaml", bad)]);
        assert_eq!(wishes(&update), Vec::<String>::new(), "{bad:?}");
        assert!(update.troubles.contains_key("a.yaml"), "{bad:?}");
        assert_eq!(owners(&update), Vec::<String>::new());
        let update = manifests.update(vec![removed("a.yaml")]);
        assert_eq!(owners(&update), ["a in nothing"]);
        assert_eq!((wishes(&update), update.troubles.len()), (vec!["-a".to_owned()], 0), "{bad:?}");
    }
}

#[test]
fn a_file_of_which_one_pod_is_wrong_keeps_all_that_it_asked_for() {
    let mut manifests = manifests();
    manifests.update(vec![text("a.yaml", format!("{}---\n{}", pod("a"), pod("b")))]);
    let bad = pod("b").replace("driver: example.com/memory", "driver: 7");
    let update = manifests.update(vec![text("a.yaml", format!("{bad}---\n{}", pod("c")))]);
    assert_eq!(wishes(&update), ["+c"]);
    assert!(update.troubles["a.yaml"].contains("driver"));
    assert_eq!(wishes(&manifests.update(vec![text("a.yaml", pod("c"))])), ["-a", "-b"]);
}

#[test]
fn what_an_earlier_process_knew_of_an_invalid_file_is_left_alone() {
    let mut manifests = remembering(&[("a", "a.yaml"), ("b", "b.yaml"), ("c", "c.yaml")]);
    let unreadable = ("b.yaml".to_owned(), News::Unfinished);
    let update = manifests.update(vec![text("a.yaml", "kind: ["), unreadable]);
    assert_eq!(wishes(&update), ["?a", "?b", "-c"]);
    assert_eq!(owners(&update), ["c in nothing"]);
    assert!(update.complete);
    let update = manifests.update(vec![text("a.yaml", pod("a")), text("b.yaml", pod("x"))]);
    assert_eq!(wishes(&update), ["+a", "-b", "+x"]);
}

#[test]
fn a_file_that_was_emptied_while_no_agent_ran_takes_nothing_away() {
    for empty in ["", "# nothing\n"] {
        let mut manifests = remembering(&[("a", "a.yaml")]);
        let update = manifests.update(vec![text("a.yaml", empty), text("b.yaml", empty)]);
        assert_eq!(wishes(&update), ["?a"]);
        assert_eq!(update.troubles.keys().collect::<Vec<_>>(), ["a.yaml"]);
        assert_eq!(wishes(&manifests.update(vec![removed("a.yaml")])), ["-a"]);
        let mut manifests = Manifests::new(Reading::Tolerant, Memory::Lost("damaged".to_owned()));
        assert!(!manifests.update(vec![text("a.yaml", empty)]).complete);
        assert!(manifests.update(vec![removed("a.yaml")]).complete);
    }
}

#[test]
fn without_memory_nothing_is_concluded_from_files_that_are_wrong() {
    let mut manifests = Manifests::new(Reading::Tolerant, Memory::Lost("damaged".to_owned()));
    let update = manifests.update(vec![text("a.yaml", "kind: ["), text("b.yaml", pod("b"))]);
    assert_eq!(wishes(&update), ["+b"]);
    assert!(!update.complete);
    assert!(manifests.update(vec![text("a.yaml", pod("a"))]).complete);
}

#[test]
fn objects_of_several_files_belong_together_and_stay_as_long_as_one_is_missing() {
    let mut manifests = manifests();
    let update = manifests.update(vec![text("pod.yaml", claiming("a"))]);
    assert_eq!(wishes(&update), Vec::<String>::new());
    assert!(update.troubles["pod.yaml"].contains("claim"), "{:?}", update.troubles);
    let update = manifests.update(vec![text("disk.yaml", disk("1Gi"))]);
    assert_eq!((wishes(&update), update.troubles.len()), (vec!["+a".to_owned()], 0));
    assert_eq!(
        wishes(&manifests.update(vec![text("disk.yaml", disk("2Gi"))])),
        ["+a"],
        "its capacity is raised"
    );
    let update = manifests.update(vec![removed("disk.yaml")]);
    assert_eq!(wishes(&update), Vec::<String>::new(), "the pod is still there");
    assert!(update.troubles.contains_key("pod.yaml"));
    assert_eq!(wishes(&manifests.update(vec![removed("pod.yaml")])), ["-a"]);
}

#[test]
fn of_two_that_want_one_uid_the_first_has_it() {
    let mut manifests = manifests();
    manifests.update(vec![text("z.yaml", pod("a"))]);
    let other = POD.replace("NAME", "other").replace("UID", "a");
    let update = manifests.update(vec![text("a.yaml", other.clone())]);
    assert_eq!(wishes(&update), Vec::<String>::new());
    assert!(update.troubles["a.yaml"].contains("taken by z.yaml"), "{:?}", update.troubles);
    let update = manifests.update(vec![removed("z.yaml")]);
    assert_eq!((wishes(&update), update.troubles.len()), (vec!["+a".to_owned()], 0), "now it is the other's");
    // The same right after a restart, whatever the names.
    let mut manifests = remembering(&[("a", "z.yaml")]);
    let update = manifests.update(vec![text("a.yaml", other), text("z.yaml", pod("a"))]);
    assert!(update.troubles.contains_key("a.yaml"), "{:?}", update.troubles);
}

#[test]
fn two_files_that_describe_one_volume_differently_leave_the_first_as_it_is() {
    let mut manifests = manifests();
    manifests.update(vec![text("m.yaml", disk("1Gi")), text("pod.yaml", claiming("a"))]);
    let update = manifests.update(vec![text("a.yaml", disk("9Gi"))]);
    assert_eq!(wishes(&update), Vec::<String>::new());
    assert!(update.troubles["a.yaml"].contains("second"), "{:?}", update.troubles);
}

#[test]
fn names_that_lead_elsewhere_are_refused() {
    let cases = [
        POD.replace("NAME", "a").replace("UID", "../../etc"),
        POD.replace("NAME", "a").replace("UID", ".."),
        pod("a").replace("name: data", "name: '../x'"),
        pod("a").replace("example.com/memory", "../../memory"),
    ];
    for case in cases {
        let update = manifests().update(vec![text("a.yaml", case.clone())]);
        assert!(update.troubles.contains_key("a.yaml"), "{case}");
    }
}

#[test]
fn bombs_are_refused_quickly_and_kindly() {
    let mut bomb = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n");
    for level in 1..30 {
        let below = level - 1;
        bomb.push_str(&format!(
            "a{level}: &a{level} [*a{below}, *a{below}, *a{below}, *a{below}, *a{below}]\n"
        ));
    }
    let deep = "[".repeat(100_000);
    let try_them = || {
        for bad in [bomb, deep] {
            let begun = std::time::Instant::now();
            let update = manifests().update(vec![text("a.yaml", bad)]);
            assert!(update.troubles.contains_key("a.yaml"));
            assert!(begun.elapsed() < std::time::Duration::from_secs(20), "{:?}", begun.elapsed());
        }
    };
    let thread = std::thread::Builder::new().stack_size(crate::manifest::read::PARSER_STACK);
    thread.spawn(try_them).unwrap().join().unwrap();
}

#[test]
fn secrets_are_handed_over_when_they_change_and_are_in_no_trouble() {
    use flexvolume_host::SecretSource as _;
    let secret = |value: &str| {
        format!(
            "apiVersion: v1\nkind: Secret\ntype: example.com/memory\nmetadata: {{name: key}}\nstringData: {{password: {value}}}\n"
        )
    };
    let user = pod("a").replace("memory}", "memory, secretRef: {name: key}}");
    let mut manifests = manifests();
    let update = manifests.update(vec![text("a.yaml", user), text("key.yaml", secret("hunter22"))]);
    assert_eq!((wishes(&update), update.troubles.len()), (vec!["+a".to_owned()], 0), "{:?}", update.troubles);
    let secrets = update.secrets.unwrap();
    assert_eq!(secrets.secret("default", "key").unwrap().data["password"].expose(), b"hunter22");
    let update = manifests.update(vec![text("key.yaml", secret("[hunter33"))]);
    assert!(!format!("{update:?}").contains("hunter33"), "{update:?}");
    assert!(update.troubles.contains_key("key.yaml") && wishes(&update).is_empty());
}
