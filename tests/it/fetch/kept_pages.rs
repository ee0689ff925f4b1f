//! Pages on the disk: whole or not there, and only those that follow each other.

use tradefold::fetch::{Pages, Piece, sweep};
use tradefold::window::Window;

fn piece() -> Piece {
    Piece::Span(Window { from_us: 0, to_us: 86_400_000_000 })
}

fn bodies(pages: &Pages) -> Vec<(u32, String)> {
    pages.files().iter().map(|file| (file.pass, String::from_utf8(file.body().unwrap()).unwrap())).collect()
}

#[test]
fn pages_that_do_not_follow_each_other_are_none() {
    let folder = tempfile::tempdir().unwrap();
    let mut pages = Pages::open(folder.path(), &piece()).unwrap();
    for (pass, body) in [(1, "a"), (1, "b"), (1, "c"), (2, "d"), (2, "e")] {
        pages.keep(pass, body.as_bytes(), 7).unwrap();
    }
    let found = bodies(&Pages::open(folder.path(), &piece()).unwrap());
    assert_eq!(found.iter().map(|(pass, body)| format!("{pass}{body}")).collect::<String>(), "1a1b1c2d2e");
    // The first of a pass is gone, and part of another page was left by somebody who died.
    std::fs::remove_file(&pages.files()[3].path).unwrap();
    std::fs::write(pages.files()[0].path.with_file_name("half"), "x").unwrap();
    let mut left = Pages::open(folder.path(), &piece()).unwrap();
    assert_eq!(bodies(&left).len(), 3, "{left:?}");
    assert_eq!(std::fs::read_dir(pages.files()[0].path.parent().unwrap()).unwrap().count(), 3);
    left.cut(1).unwrap();
    assert_eq!(bodies(&Pages::open(folder.path(), &piece()).unwrap()), [(1, "a".to_string())]);
    Pages::open(folder.path(), &Piece::Keys(vec!["0x1".into()])).unwrap();
    let seen = |to_us| vec![Window { from_us: -1_000_000, to_us }].into();
    sweep(folder.path(), &seen(86_399_000_000)).unwrap();
    assert_eq!(bodies(&Pages::open(folder.path(), &piece()).unwrap()).len(), 1, "its last second was not seen");
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1, "keys are asked for anew");
    sweep(folder.path(), &seen(86_400_000_000)).unwrap();
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
}

#[test]
fn a_page_that_is_damaged_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let mut pages = Pages::open(folder.path(), &piece()).unwrap();
    pages.keep(1, b"{\"orders\":[]}", 7).unwrap();
    let path = pages.files()[0].path.clone();
    let mut bytes = std::fs::read(&path).unwrap();
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    std::fs::write(&path, bytes).unwrap();
    assert!(pages.files()[0].body().unwrap_err().render().contains("read a fetched page"));
}
