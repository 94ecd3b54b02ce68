//! What LVM reports, read from its JSON.

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};

/// The columns of a volume group that are asked for.
pub(crate) const VG_COLUMNS: &str =
    "vg_name,vg_uuid,vg_size,vg_extent_size,vg_free_count,vg_missing_pv_count,vg_mda_free,vg_mda_size";

/// The columns of a logical volume that are asked for.
pub(crate) const LV_COLUMNS: &str = "lv_name,lv_uuid,lv_size,lv_tags,lv_layout,lv_role,pool_lv,origin,lv_health_status,lv_when_full,lv_autoactivation,data_percent,metadata_percent";

/// A volume group.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Group {
    #[serde(rename = "vg_name")]
    pub(crate) name: String,
    #[serde(rename = "vg_uuid")]
    pub(crate) uuid: String,
    /// Bytes.
    #[serde(rename = "vg_size", deserialize_with = "number", serialize_with = "text")]
    pub(crate) size: u64,
    /// Bytes of an extent.
    #[serde(rename = "vg_extent_size", deserialize_with = "number", serialize_with = "text")]
    pub(crate) extent: u64,
    /// Free extents.
    #[serde(rename = "vg_free_count", deserialize_with = "number", serialize_with = "text")]
    pub(crate) free_extents: u64,
    /// Physical volumes that are away.
    #[serde(rename = "vg_missing_pv_count", deserialize_with = "number", serialize_with = "text")]
    pub(crate) missing: u64,
    /// Bytes that are free for metadata.
    #[serde(rename = "vg_mda_free", deserialize_with = "number", serialize_with = "text")]
    pub(crate) metadata_free: u64,
    /// Bytes of the area for metadata.
    #[serde(rename = "vg_mda_size", deserialize_with = "number", serialize_with = "text")]
    pub(crate) metadata_size: u64,
}

impl Group {
    /// Bytes of so many bytes in whole extents.
    pub(crate) fn in_extents(&self, bytes: u64) -> u64 {
        bytes.checked_next_multiple_of(self.extent.max(1)).unwrap_or(u64::MAX)
    }

    /// Bytes that metadata can have: half of its area, since the next version is written beside the last one.
    pub(crate) fn metadata_limit(&self) -> u64 {
        self.metadata_size / 2
    }

    /// Bytes that metadata has.
    pub(crate) fn metadata_used(&self) -> u64 {
        self.metadata_limit().saturating_sub(self.metadata_free)
    }

    /// Free bytes.
    pub(crate) fn free(&self) -> u64 {
        self.extent.saturating_mul(self.free_extents)
    }
}

/// A logical volume.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct LogicalVolume {
    #[serde(rename = "lv_name")]
    pub(crate) name: String,
    #[serde(rename = "lv_uuid")]
    pub(crate) uuid: String,
    /// Bytes.
    #[serde(rename = "lv_size", deserialize_with = "number", serialize_with = "text")]
    pub(crate) size: u64,
    /// Joined by commas.
    #[serde(rename = "lv_tags", default)]
    pub(crate) tags: String,
    /// `linear`, `striped`, `raid,raid1`, `thin,sparse` …
    #[serde(rename = "lv_layout", default)]
    pub(crate) layout: String,
    /// `public`, `snapshot` … joined by commas.
    #[serde(rename = "lv_role", default)]
    pub(crate) role: String,
    /// The thin pool, or empty.
    #[serde(rename = "pool_lv", default)]
    pub(crate) pool: String,
    /// Of a snapshot, or empty.
    #[serde(default)]
    pub(crate) origin: String,
    /// Empty when there is nothing to say; `partial`, `failed` …
    #[serde(rename = "lv_health_status", default)]
    pub(crate) health: String,
    /// Of a thin pool: `error` or `queue`.
    #[serde(rename = "lv_when_full", default)]
    pub(crate) when_full: String,
    /// `enabled`, or empty.
    #[serde(rename = "lv_autoactivation", default)]
    pub(crate) autoactivation: String,
    /// Of a thin pool, a thin volume or a snapshot: a decimal number, or empty.
    #[serde(default)]
    pub(crate) data_percent: String,
    /// Of a thin pool.
    #[serde(default)]
    pub(crate) metadata_percent: String,
}

/// One volume group and those of its volumes that were selected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct GroupReport {
    pub(crate) group: Group,
    pub(crate) volumes: Vec<LogicalVolume>,
}

/// The report of `fullreport`: one for each group. Keys that we do not know are left alone (LVM 2.03.26 adds "log").
pub(crate) fn groups(json: &[u8]) -> Result<Vec<GroupReport>, serde_json::Error> {
    let document: Document = serde_json::from_slice(json)?;
    let read = |part: Part| {
        let group = part
            .vg
            .into_iter()
            .next()
            .ok_or_else(|| serde_json::Error::custom("a report without a group"))?;
        Ok(GroupReport { group, volumes: part.lv })
    };
    document.report.into_iter().map(read).collect()
}

/// Name and UUID of every group, as `vgs` reports them.
pub(crate) fn names(json: &[u8]) -> Result<Vec<GroupName>, serde_json::Error> {
    let document: NamesDocument = serde_json::from_slice(json)?;
    Ok(document.report.into_iter().flat_map(|part| part.vg).collect())
}

/// A volume group by name.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(crate) struct GroupName {
    #[serde(rename = "vg_name")]
    pub(crate) name: String,
    #[serde(rename = "vg_uuid")]
    pub(crate) uuid: String,
}

#[derive(Deserialize)]
struct Document {
    report: Vec<Part>,
}

#[derive(Deserialize)]
struct Part {
    vg: Vec<Group>,
    #[serde(default)]
    lv: Vec<LogicalVolume>,
}

#[derive(Deserialize)]
struct NamesDocument {
    report: Vec<NamesPart>,
}

#[derive(Deserialize)]
struct NamesPart {
    vg: Vec<GroupName>,
}

/// Every value is a string there.
fn number<'de, D: Deserializer<'de>>(value: D) -> Result<u64, D::Error> {
    let text = String::deserialize(value)?;
    text.parse().map_err(|_| D::Error::custom(format!("{text:?} is no number")))
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the signature that serde calls")]
fn text<S: Serializer>(number: &u64, out: S) -> Result<S::Ok, S::Error> {
    out.collect_str(number)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) const REPORT: &str = r#"{"report":[{"vg":[{"vg_name":"vg0","vg_uuid":"Z5eJCO-clnH-6yhn-Cjm9-A73K-g9U9-G9fOgg",
        "vg_extent_size":"4194304","vg_free_count":"60","vg_missing_pv_count":"0","vg_mda_free":"520192",
        "vg_size":"264241152","vg_mda_size":"1044480"}],
        "pv":[{}],"lv":[{"lv_name":"fv.a","lv_uuid":"oUvCnk-11WU-YF22-jVEm-LMWi-Wl0P-4jn1ks","lv_size":"12582912",
        "lv_tags":"flexvol.id=a,flexvol.owner=lvm","lv_layout":"linear","lv_role":"public","pool_lv":"","origin":"",
        "lv_health_status":"","data_percent":"","metadata_percent":"","news":"7"}],"seg":[{}]}],
        "log":[{"log_seq_num":"1"}]}"#;

    #[test]
    fn a_report_is_read_and_what_is_new_in_it_left_alone() {
        let groups = groups(REPORT.as_bytes()).unwrap();
        let [report] = groups.as_slice() else { panic!("{groups:?}") };
        assert_eq!((report.group.extent, report.group.free()), (4 << 20, 240 << 20));
        assert_eq!(report.group.in_extents(5 << 20), 8 << 20);
        assert_eq!(report.volumes[0].size, 12_582_912);
        assert_eq!(names(REPORT.as_bytes()).unwrap()[0].name, "vg0");
    }

    #[test]
    fn what_is_no_report_is_an_error() {
        for text in [
            "",
            "{}",
            "{\"report\":[{}]}",
            "{\"report\":[{\"vg\":[]}]}",
            &REPORT.replace("\"60\"", "\"<60\""),
        ] {
            groups(text.as_bytes()).unwrap_err();
        }
        assert_eq!(groups(b"{\"report\":[]}").unwrap(), []);
    }
}
