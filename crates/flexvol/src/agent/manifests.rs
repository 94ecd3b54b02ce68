//! From the texts of manifest files to what shall become of each pod.
//!
//! A file that is wrong, empty or only half there never takes away what it asked for before: that stays until the file is
//! in order again or removed. This also holds for a file that was in order when an earlier process read it: which file
//! asked for which pod is on disk.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use flexvolume_host::Reading;
use flexvolume_host::contract::{DriverName, PodUid};
use flexvolume_host::reconcile::{PodWish, WantedPod};

use crate::manifest::ManifestError;
use crate::manifest::read::{Document, parse};
use crate::manifest::resolve::{PodPlan, resolve};
use crate::secrets::ManifestSecrets;

/// What is new about a file.
#[derive(Debug)]
pub(super) enum News {
    /// It has this text.
    Text(String),
    /// It is there, but cannot be read.
    Unusable(String),
    /// Somebody is still writing it.
    Unfinished,
    /// It is not there any more.
    Removed,
}

/// Which file asked for which pod.
pub(super) type Owners = BTreeMap<PodUid, String>;

/// What is remembered of an earlier process.
#[derive(Debug)]
pub(super) enum Memory {
    /// These pods were asked for.
    Known(Owners),
    /// The file that tells was damaged: nothing may be concluded from a file that is wrong.
    Lost(String),
}

/// What follows from some news.
#[derive(Debug, Default)]
pub(super) struct Update {
    /// The pods for which something else is wished now.
    pub(super) wishes: Vec<(PodUid, PodWish)>,
    /// What is wrong, by file: all that is wrong, not only what is new.
    pub(super) troubles: BTreeMap<String, String>,
    /// Which file asks for which pod now.
    pub(super) owners: Owners,
    /// The Secrets, if they may have changed.
    pub(super) secrets: Option<ManifestSecrets>,
    /// Whether all pods are known that somebody may have asked for.
    pub(super) complete: bool,
}

/// The manifest files.
#[derive(Debug)]
pub(super) struct Manifests {
    reading: Reading,
    files: BTreeMap<String, ManifestFile>,
    pods: BTreeMap<PodUid, Owned>,
    memory: Memory,
    linked: Linked,
    arrivals: u64,
}

/// A pod and the file that asks for it; without a plan it is remembered only.
#[derive(Debug, Clone)]
struct Owned {
    plan: Option<Arc<WantedPod>>,
    file: String,
}

#[derive(Debug)]
struct ManifestFile {
    /// Who came first has the older right.
    arrival: u64,
    content: Content,
    trouble: Option<String>,
}

#[derive(Debug)]
enum Content {
    /// Nothing is known of it.
    Nothing,
    /// Pods that refer to nothing outside of themselves.
    Pods(Vec<Arc<WantedPod>>),
    /// Objects that refer to others, or can be referred to: the text, to be resolved together with all others.
    Linked(String),
}

/// What came of the files that are resolved together.
#[derive(Debug, Default)]
struct Linked {
    pods: Vec<(String, Arc<WantedPod>)>,
    troubles: BTreeMap<String, String>,
}

impl Manifests {
    pub(super) fn new(reading: Reading, memory: Memory) -> Self {
        let pods = match &memory {
            Memory::Known(owners) => owners
                .iter()
                .map(|(pod, file)| (pod.clone(), Owned { plan: None, file: file.clone() }))
                .collect(),
            Memory::Lost(_) => BTreeMap::new(),
        };
        Self { reading, files: BTreeMap::new(), pods, memory, linked: Linked::default(), arrivals: 0 }
    }

    /// Takes the news in and says what follows.
    pub(super) fn update(&mut self, news: Vec<(String, News)>) -> Update {
        let mut relink = false;
        for (name, news) in news {
            relink |= self.take(name, news);
        }
        let secrets = relink.then(|| self.relink());
        let mut troubles: BTreeMap<String, String> = self.linked.troubles.clone();
        let own = self.files.iter().filter_map(|(name, file)| Some((name.clone(), file.trouble.clone()?)));
        troubles.extend(own);
        let pods = self.merge(&mut troubles);
        let wishes = self.replace(pods, &troubles);
        let owners = self.pods.iter().map(|(pod, owned)| (pod.clone(), owned.file.clone())).collect();
        let complete = matches!(self.memory, Memory::Known(_)) || troubles.is_empty();
        if let (Memory::Lost(why), false) = (&self.memory, complete) {
            troubles.insert("pods.json".to_owned(), why.clone());
        } else if complete && matches!(self.memory, Memory::Lost(_)) {
            self.memory = Memory::Known(Owners::new());
        }
        Update { wishes, troubles, owners, secrets, complete }
    }

    /// Whether the files that are resolved together are others now.
    fn take(&mut self, name: String, news: News) -> bool {
        let text = match news {
            News::Removed => return self.files.remove(&name).is_some_and(|file| file.is_linked()),
            News::Unusable(why) => {
                self.file(name).trouble = Some(why);
                return false;
            }
            // It says nothing against what was read of it before.
            News::Unfinished if self.files.contains_key(&name) => return false,
            News::Unfinished => {
                self.file(name.clone()).trouble = Some(format!("{name}: is still being written"));
                return false;
            }
            News::Text(text) => text,
        };
        let reading = self.reading;
        let file = self.file(name.clone());
        let was_linked = file.is_linked();
        match content_of(&name, text, reading) {
            Ok(Content::Nothing) if !matches!(file.content, Content::Nothing) => {
                file.trouble = Some(format!("{name}: is empty; what it asked for stays until it is removed"));
            }
            Ok(content) => (file.content, file.trouble) = (content, None),
            Err(why) => file.trouble = Some(why),
        }
        was_linked || file.is_linked()
    }

    fn file(&mut self, name: String) -> &mut ManifestFile {
        self.arrivals += 1;
        let arrival = self.arrivals;
        self.files.entry(name).or_insert(ManifestFile { arrival, content: Content::Nothing, trouble: None })
    }

    /// Resolves the files that depend on each other, in the order in which they came.
    fn relink(&mut self) -> ManifestSecrets {
        let mut texts: Vec<_> = self
            .files
            .iter()
            .filter_map(|(name, file)| match &file.content {
                Content::Linked(text) => Some((file.arrival, name, text)),
                _ => None,
            })
            .collect();
        texts.sort_unstable();
        let mut documents = Vec::new();
        for (_, name, text) in texts {
            // It was parsed when it came.
            documents.extend(parse_documents(name, text).unwrap_or_default());
        }
        let (workload, errors) = resolve(&documents, self.reading);
        let file_of = |plan: &PodPlan| plan.place.file.display().to_string();
        self.linked.pods =
            workload.pods.into_iter().map(|plan| (file_of(&plan), Arc::new(wanted(plan)))).collect();
        self.linked.troubles.clear();
        for error in errors {
            add_trouble(
                &mut self.linked.troubles,
                error.place.file.display().to_string(),
                &error.to_string(),
            );
        }
        workload.secrets
    }

    /// All pods with the files that ask for them. Of several that ask for the same uid the one has it that had it before,
    /// or came first.
    fn merge(&self, troubles: &mut BTreeMap<String, String>) -> BTreeMap<PodUid, (String, Arc<WantedPod>)> {
        let alone = self.files.iter().flat_map(|(name, file)| match &file.content {
            Content::Pods(pods) => pods.iter().map(|pod| (name.clone(), Arc::clone(pod))).collect(),
            _ => Vec::new(),
        });
        let mut candidates: Vec<_> = alone.chain(self.linked.pods.iter().cloned()).collect();
        let right = |(file, pod): &(String, Arc<WantedPod>)| {
            let has_it = self.pods.get(&pod.pod.uid).is_some_and(|owned| owned.file == *file);
            (!has_it, self.files.get(file).map_or(u64::MAX, |file| file.arrival))
        };
        candidates.sort_by_key(right);
        let mut pods: BTreeMap<PodUid, (String, Arc<WantedPod>)> = BTreeMap::new();
        for (file, pod) in candidates {
            match pods.get(&pod.pod.uid) {
                None => drop(pods.insert(pod.pod.uid.clone(), (file, pod))),
                Some((first, _)) => {
                    let why = format!(
                        "{file}: the uid {} of pod {}/{} is taken by {first}; a pod's uid names its directories, so it must be unique",
                        pod.pod.uid, pod.pod.namespace, pod.pod.name
                    );
                    add_trouble(troubles, file, &why);
                }
            }
        }
        for (file, pod) in pods.values() {
            refuse_impossible_drivers(file, pod, troubles);
        }
        pods
    }

    /// Puts the new pods in place of the old; what a troubled file asked for stays.
    fn replace(
        &mut self,
        new: BTreeMap<PodUid, (String, Arc<WantedPod>)>,
        troubles: &BTreeMap<String, String>,
    ) -> Vec<(PodUid, PodWish)> {
        let mut wishes = Vec::new();
        let old: BTreeSet<PodUid> = self.pods.keys().cloned().collect();
        for uid in old {
            let Some(owned) = self.pods.get(&uid) else { continue };
            let stays = troubles.contains_key(&owned.file) && self.files.contains_key(&owned.file);
            match (&owned.plan, new.contains_key(&uid), stays) {
                (_, true, _) | (Some(_), false, true) => {}
                (None, false, true) => wishes.push((uid, PodWish::AsIs)),
                (_, false, false) => {
                    self.pods.remove(&uid);
                    wishes.push((uid, PodWish::Gone));
                }
            }
        }
        for (uid, (file, pod)) in new {
            let known = self.pods.get(&uid).and_then(|owned| owned.plan.clone());
            let plan = known.filter(|known| **known == *pod);
            if plan.is_none() {
                wishes.push((uid.clone(), PodWish::Volumes(Arc::clone(&pod))));
            }
            self.pods.insert(uid, Owned { plan: Some(plan.unwrap_or(pod)), file });
        }
        wishes
    }
}

impl ManifestFile {
    fn is_linked(&self) -> bool {
        matches!(self.content, Content::Linked(_))
    }
}

fn parse_documents(name: &str, text: &str) -> Result<Vec<Document>, ManifestError> {
    let file = Path::new(name);
    Ok(parse(file, text)?.into_iter().map(|root| Document { file: file.to_owned(), root }).collect())
}

fn content_of(name: &str, text: String, reading: Reading) -> Result<Content, String> {
    let documents = parse_documents(name, &text).map_err(|error| error.to_string())?;
    if documents.is_empty() {
        return Ok(Content::Nothing);
    }
    let (workload, errors) = resolve(&documents, reading);
    if workload.referents > 0 || !errors.is_empty() {
        return Ok(Content::Linked(text));
    }
    Ok(Content::Pods(workload.pods.into_iter().map(|plan| Arc::new(wanted(plan))).collect()))
}

fn wanted(plan: PodPlan) -> WantedPod {
    WantedPod { pod: plan.pod, volumes: plan.volumes, arguments: plan.arguments }
}

fn refuse_impossible_drivers(file: &str, pod: &WantedPod, troubles: &mut BTreeMap<String, String>) {
    for volume in &pod.volumes {
        if let Err(error) = DriverName::parse(volume.spec.driver.clone()) {
            let (namespace, name, volume) = (&pod.pod.namespace, &pod.pod.name, &volume.pod_volume);
            let why = format!("{file}: volume {volume} of pod {namespace}/{name}: {error}");
            add_trouble(troubles, file.to_owned(), &why);
        }
    }
}

/// A file may have many errors; a person needs the first few.
fn add_trouble(troubles: &mut BTreeMap<String, String>, file: String, why: &str) {
    const ENOUGH: usize = 4 << 10;
    let known = troubles.entry(file).or_default();
    if known.len() < ENOUGH {
        if !known.is_empty() {
            known.push_str("; ");
        }
        known.push_str(why);
    }
}

#[cfg(test)]
mod tests;
