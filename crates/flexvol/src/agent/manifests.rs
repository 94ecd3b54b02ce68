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

use super::claims::Claims;
use super::news::{Memory, News, Owners, UNFINISHED, Update};
use crate::manifest::ManifestError;
use crate::manifest::read::{Document, parse_on_this_stack};
use crate::manifest::resolve::{PodPlan, resolve};
use crate::secrets::ManifestSecrets;

/// The manifest files. To be used on a thread with a stack of [`PARSER_STACK`](crate::manifest::read::PARSER_STACK).
#[derive(Debug)]
pub(super) struct Manifests {
    reading: Reading,
    files: BTreeMap<String, ManifestFile>,
    pods: BTreeMap<PodUid, Owned>,
    /// The files that ask for each pod now: one, unless somebody has made a mistake.
    claims: Claims,
    memory: Memory,
    linked: Linked,
    arrivals: u64,
    /// The files in which something was wrong at the last update.
    troubled: BTreeSet<String>,
    read_before: bool,
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
    pods: BTreeMap<(String, PodUid), Arc<WantedPod>>,
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
        let (files, claims, linked) = (BTreeMap::new(), Claims::default(), Linked::default());
        let (troubled, read_before) = (BTreeSet::new(), false);
        Self { reading, files, pods, claims, memory, linked, arrivals: 0, troubled, read_before }
    }

    /// Takes the news in and says what follows. What it costs depends on what is new, not on how many pods there are.
    pub(super) fn update(&mut self, news: Vec<(String, News)>) -> Update {
        let names: BTreeSet<String> = news.iter().map(|(name, _)| name.clone()).collect();
        let mut affected = BTreeSet::new();
        let mut relink = false;
        for (name, news) in news {
            affected.extend(self.pods_of(&name));
            relink |= self.take(name.clone(), news);
            affected.extend(self.pods_of(&name));
        }
        let secrets = relink.then(|| self.relink(&mut affected));
        let troubles = self.troubles();
        let now_troubled = troubles.keys().cloned().collect();
        let was_troubled: BTreeSet<String> = std::mem::replace(&mut self.troubled, now_troubled);
        let first = !std::mem::replace(&mut self.read_before, true);
        // What a file asked for before depends on whether it is in order now. Where all are and were, each pod that
        // anything was asked for is in what its file holds or held.
        if first || !was_troubled.is_empty() || !self.troubled.is_empty() {
            let touched = |file: &String| {
                first || names.contains(file) || was_troubled.contains(file) || self.troubled.contains(file)
            };
            let pods = self.pods.iter().filter(|(_, owned)| touched(&owned.file));
            affected.extend(pods.map(|(pod, _)| pod.clone()));
        }
        let mut update = Update { secrets, troubles, ..Update::default() };
        for pod in affected {
            self.settle(pod, &mut update);
        }
        self.judge_memory(&mut update);
        update
    }

    fn pods_of(&self, file: &str) -> Vec<PodUid> {
        match self.files.get(file).map(|file| &file.content) {
            Some(Content::Pods(pods)) => pods.iter().map(|pod| pod.pod.uid.clone()).collect(),
            _ => Vec::new(),
        }
    }

    /// Without memory, a file that is wrong may have asked for any pod.
    fn judge_memory(&mut self, update: &mut Update) {
        update.complete = update.troubles.is_empty();
        if let Memory::Lost(why) = &self.memory
            && !update.complete
        {
            update.troubles.insert("pods.jsonl".to_owned(), why.clone());
            return;
        }
        update.complete = true;
        self.memory = Memory::Known(Owners::new());
    }

    /// Whether the files that are resolved together are others now.
    fn take(&mut self, name: String, news: News) -> bool {
        let text = match news {
            News::Removed => {
                self.claims.give_up(&name, self.pods_of(&name));
                return self.files.remove(&name).is_some_and(|file| file.is_linked());
            }
            News::Unusable(why) => {
                self.file(name).trouble = Some(why);
                return false;
            }
            // It says nothing against what was read of it before.
            News::Unfinished if self.files.contains_key(&name) => return false,
            News::Unfinished => {
                self.file(name.clone()).trouble = Some(format!("{name}: {UNFINISHED}"));
                return false;
            }
            News::Text(text) => text,
        };
        let content = content_of(&name, text, self.reading);
        // Only an empty file needs the answer, for which all pods are looked at.
        let takes_away = matches!(content, Ok(Content::Nothing)) && self.asked_before(&name);
        self.claims.give_up(&name, self.pods_of(&name));
        let file = self.file(name.clone());
        let was_linked = file.is_linked();
        match content {
            Ok(Content::Nothing) if takes_away => {
                file.trouble = Some(format!("{name}: is empty; what it asked for stays until it is removed"));
            }
            Ok(content) => {
                file.trouble = impossible_drivers(&name, &content);
                file.content = content;
            }
            Err(why) => file.trouble = Some(why),
        }
        let is_linked = file.is_linked();
        self.claims.make(&name, self.pods_of(&name));
        was_linked || is_linked
    }

    /// Whether a file has asked for something, as far as is known: this process read it, an earlier one did, or what that
    /// one knew is lost.
    fn asked_before(&self, name: &str) -> bool {
        let was_read = self.files.get(name).is_some_and(|file| !matches!(file.content, Content::Nothing));
        was_read
            || matches!(self.memory, Memory::Lost(_))
            || self.pods.values().any(|owned| owned.file == name)
    }

    fn file(&mut self, name: String) -> &mut ManifestFile {
        self.arrivals += 1;
        let arrival = self.arrivals;
        self.files.entry(name).or_insert(ManifestFile { arrival, content: Content::Nothing, trouble: None })
    }

    /// Resolves the files that depend on each other.
    fn relink(&mut self, affected: &mut BTreeSet<PodUid>) -> ManifestSecrets {
        let documents = self.linked_documents();
        let (workload, errors) = resolve(&documents, self.reading);
        let before = std::mem::take(&mut self.linked.pods);
        self.linked.troubles.clear();
        for plan in workload.pods {
            let (file, pod) = (plan.place.file.display().to_string(), Arc::new(wanted(plan)));
            let uid = pod.pod.uid.clone();
            add_impossible_drivers(&mut self.linked.troubles, &file, &pod);
            self.claims.make(&file, [uid.clone()]);
            affected.insert(uid.clone());
            self.linked.pods.insert((file, uid), pod);
        }
        for (file, pod) in before.into_keys() {
            // It may still ask for it, even by itself.
            if self.plan(&pod, &file).is_none() {
                self.claims.give_up(&file, [pod.clone()]);
            }
            affected.insert(pod);
        }
        for error in errors {
            add_trouble(
                &mut self.linked.troubles,
                &error.place.file.display().to_string(),
                &error.to_string(),
            );
        }
        workload.secrets
    }

    /// The documents of the files that depend on each other, in the order in which they came.
    fn linked_documents(&self) -> Vec<Document> {
        let linked = self.files.iter().filter_map(|(name, file)| match &file.content {
            Content::Linked(text) => Some((file.arrival, name, text)),
            _ => None,
        });
        let mut texts: Vec<_> = linked.collect();
        texts.sort_unstable();
        // They were parsed when they came.
        texts
            .into_iter()
            .flat_map(|(_, name, text)| parse_documents(name, text).unwrap_or_default())
            .collect()
    }

    /// All that is wrong, by file.
    fn troubles(&self) -> BTreeMap<String, String> {
        let mut troubles = self.linked.troubles.clone();
        for (name, file) in &self.files {
            if let Some(why) = &file.trouble {
                add_trouble(&mut troubles, name, why);
            }
        }
        for (pod, files) in self.claims.disputed() {
            let Some(winner) = self.winner(pod, files) else { continue };
            for file in files.iter().filter(|file| *file != winner) {
                let why = format!(
                    "{file}: the pod uid {pod} is taken by {winner}; a pod's uid names its directories, so it must be unique"
                );
                add_trouble(&mut troubles, file, &why);
            }
        }
        troubles
    }

    /// Of several files that ask for the same uid the one has it that had it before, or came first.
    fn winner<'a>(&self, pod: &PodUid, files: &'a [String]) -> Option<&'a String> {
        let owner = self.pods.get(pod).map(|owned| &owned.file);
        let arrival = |file: &String| self.files.get(file).map_or(u64::MAX, |file| file.arrival);
        files.iter().min_by_key(|file| (Some(*file) != owner, arrival(file)))
    }

    /// The pod as a file asks for it.
    fn plan(&self, pod: &PodUid, file: &str) -> Option<Arc<WantedPod>> {
        let linked = || self.linked.pods.get(&(file.to_owned(), pod.clone())).cloned();
        match self.files.get(file).map(|file| &file.content) {
            Some(Content::Pods(pods)) => pods.iter().find(|known| known.pod.uid == *pod).cloned(),
            _ => linked(),
        }
    }

    /// Says what shall become of a pod, if that is something else than before. What a troubled file asked for stays.
    fn settle(&mut self, pod: PodUid, update: &mut Update) {
        let winner = self.claims.of(&pod).and_then(|files| self.winner(&pod, files)).cloned();
        let plan = winner.and_then(|file| Some((self.plan(&pod, &file)?, file)));
        let known = self.pods.get(&pod);
        if let Some((plan, file)) = plan {
            if known.is_none_or(|known| known.file != file) {
                update.owners.push((pod.clone(), Some(file.clone())));
            }
            if known.and_then(|known| known.plan.as_ref()) != Some(&plan) {
                update.wishes.push((pod.clone(), PodWish::Volumes(Arc::clone(&plan))));
            }
            self.pods.insert(pod, Owned { plan: Some(plan), file });
            return;
        }
        let Some(known) = known else { return };
        let stays = update.troubles.contains_key(&known.file) && self.files.contains_key(&known.file);
        match (&known.plan, stays) {
            (Some(_), true) => {}
            (None, true) => update.wishes.push((pod, PodWish::AsIs)),
            (_, false) => {
                self.pods.remove(&pod);
                update.owners.push((pod.clone(), None));
                update.wishes.push((pod, PodWish::Gone));
            }
        }
    }
}

impl ManifestFile {
    fn is_linked(&self) -> bool {
        matches!(self.content, Content::Linked(_))
    }
}

fn parse_documents(name: &str, text: &str) -> Result<Vec<Document>, ManifestError> {
    let file = Path::new(name);
    Ok(parse_on_this_stack(file, text)?
        .into_iter()
        .map(|root| Document { file: file.to_owned(), root })
        .collect())
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
    let mut pods: Vec<_> = workload.pods.into_iter().map(|plan| Arc::new(wanted(plan))).collect();
    // The room of the plans was taken over.
    pods.shrink_to_fit();
    Ok(Content::Pods(pods))
}

fn wanted(plan: PodPlan) -> WantedPod {
    let PodPlan { pod, mut volumes, arguments, .. } = plan;
    // There may be thousands, most with one volume.
    volumes.shrink_to_fit();
    WantedPod { pod, volumes, arguments }
}

fn impossible_drivers(file: &str, content: &Content) -> Option<String> {
    let mut troubles = BTreeMap::new();
    if let Content::Pods(pods) = content {
        pods.iter().for_each(|pod| add_impossible_drivers(&mut troubles, file, pod));
    }
    troubles.into_values().next()
}

fn add_impossible_drivers(troubles: &mut BTreeMap<String, String>, file: &str, pod: &WantedPod) {
    for volume in &pod.volumes {
        if let Err(error) = DriverName::parse(volume.spec.driver.clone()) {
            let (namespace, name, volume) = (&pod.pod.namespace, &pod.pod.name, &volume.pod_volume);
            add_trouble(
                troubles,
                file,
                &format!("{file}: volume {volume} of pod {namespace}/{name}: {error}"),
            );
        }
    }
}

/// A file may have many errors; a person needs the first few.
fn add_trouble(troubles: &mut BTreeMap<String, String>, file: &str, why: &str) {
    const ENOUGH: usize = 4 << 10;
    let known = troubles.entry(file.to_owned()).or_default();
    if known.len() < ENOUGH {
        if !known.is_empty() {
            known.push_str("; ");
        }
        known.push_str(why);
    }
}

#[cfg(test)]
mod tests;
