//! File ids, names and the record inside them: what parses, prints and parses the same, and
//! never leads outside its two directories.

use std::path::{Component, Path};

use proto::fileid::{ExtField, FileId, FileName, Record, TrunkSlot};
use proto::ids::{Extension, Prefix};

pub fn run(data: &[u8]) {
    if let Ok(id) = FileId::parse(data) {
        let text = id.to_string();
        assert_eq!(FileId::parse(&text).as_ref(), Ok(&id), "{text}");
    }
    let Ok(name) = FileName::parse(data, 256) else { return };
    assert_eq!(FileName::parse(name.as_str(), 256).as_ref(), Ok(&name));
    let inside =
        Path::new(name.true_name()).components().all(|c| matches!(c, Component::Normal(_)));
    assert!(inside && name.true_name().split('/').count() == 3, "{name} leads elsewhere");
    assert!(name.true_name().starts_with(&name.dir().to_string()));
    if let Some(record) = name.record() {
        let again = Record::decode(record.encode().as_bytes());
        assert_eq!(again, Some(record));
        if let Some(other) = name.regenerated(&record) {
            assert_eq!(FileName::parse(other.as_str(), 256), Ok(other));
        }
    }
    if let Some(slot) = name.slot() {
        assert_eq!(TrunkSlot::decode(slot.encode().as_bytes()), Some(slot));
    }
    let (_, _) = (name.kind(), name.size());
    let text = name.as_str().as_bytes();
    let (prefix, extension) = text.split_at(text.len() / 2);
    let prefix = prefix.get(prefix.len().saturating_sub(16)..).unwrap_or_default();
    let extension = extension.get(extension.len().saturating_sub(6)..).unwrap_or_default();
    let text = |bytes| std::str::from_utf8(bytes).unwrap_or_default();
    if let (Some(prefix), Some(extension)) =
        (Prefix::parse(text(prefix)), Extension::parse(text(extension)))
    {
        let _ = ExtField::new(&extension, 1);
        if let Ok(slave) = name.slave(&prefix, &extension) {
            assert_eq!(FileName::parse(slave.as_str(), 256), Ok(slave));
        }
    }
    if let Some(metadata) = name.metadata() {
        assert_eq!(FileName::parse(metadata.as_str(), 256), Ok(metadata));
    }
}
