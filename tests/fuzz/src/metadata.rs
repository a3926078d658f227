//! Metadata as clients send them and as they lie on disk.

use proto::metadata::Metadata;

pub fn run(data: &[u8]) {
    let all = Metadata::parse(data);
    let printed = all.print();
    assert_eq!(Metadata::parse(&printed).print(), printed, "settles");
    let on_disk = Metadata::parse_file(&printed);
    assert_eq!(on_disk.print(), Metadata::parse_file(&on_disk.print()).print());
    let (one, two) = data.split_at(data.len() / 2);
    let (one, two) = (Metadata::parse(one), Metadata::parse(two));
    let merged = one.clone().merge(two.clone());
    for pair in two.pairs() {
        let of_name = |list: &Metadata| -> Vec<_> {
            list.pairs().iter().filter(|p| p.name == pair.name).cloned().collect()
        };
        assert_eq!(of_name(&merged), of_name(&two), "the newer values win");
    }
    assert!(merged.pairs().is_sorted_by(|a, b| a.name <= b.name));
}
