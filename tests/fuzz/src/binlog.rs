//! Lines of the binlog, and mark files.

use proto::binlog::{Mark, Record};

pub fn run(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    for line in text.lines() {
        let Ok(record) = Record::parse(line) else { continue };
        let Ok(again) = record.line() else { panic!("{line:?} is read and cannot be written") };
        assert_eq!(Record::parse(again.trim_end_matches('\n')), Ok(record));
    }
    if let Some(mark) = Mark::parse(text) {
        assert_eq!(Mark::parse(&mark.text()), Some(mark));
    }
}
