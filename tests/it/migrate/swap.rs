//! Swaps of two tables: those that die or can't be done, and what is kept of them.

use super::mend::{
    mended, mended_by, must_be_mended, old_lake, over, planted, rows, rows_of_files, settled, table_path,
};
use super::{back, crowded, ledger, migrated, options, production, run, staging};
use crate::warehouse::local::LocalStand;
use crate::warehouse::{EDGE_S, NOW_US, Stand, backfill, copied, copy_all, fill, merged};
use serde_json::json;
use std::path::{Path, PathBuf};
use tradefold::error::Kind;
use tradefold::gc::{Leftover, Places};
use tradefold::ledger::{Entry, Ledger, Swap};
use tradefold::migrate::{finished_mend, forget_mend};
use tradefold::run::RunOptions;
use tradefold::window::Day;

/// The folder of the table in the making.
fn making(stand: &LocalStand) -> PathBuf {
    stand.folder.path().join("lake/_tradefold/fills/mending/table")
}

fn beside_table(stand: &LocalStand, name: &str) -> PathBuf {
    stand.folder.path().join("lake").join(name)
}

/// A lake whose mend died right after it was written down that its table is put into place.
async fn about_to_be_swapped() -> (LocalStand, Swap) {
    let stand = old_lake().await;
    mended(&stand, &staging()).await;
    let own = ledger(&stand).await;
    let [.., begun, done] = own.records() else { panic!("{own:?}") };
    let Entry::Swapping { swap } = &begun.entry else { panic!("{begun:?}") };
    // As if what came after it had not come.
    std::fs::remove_file(own.folder().local_path().unwrap().join(format!("{:020}.json", done.number))).unwrap();
    std::fs::create_dir_all(making(&stand).parent().unwrap()).unwrap();
    std::fs::rename(table_path(&stand), making(&stand)).unwrap();
    std::fs::rename(beside_table(&stand, &swap.kept), table_path(&stand)).unwrap();
    let swap = swap.as_ref().clone();
    assert_eq!((ledger(&stand).await.pending_swap(), rows_of_files(&stand).await.len()), (Some(&swap), 8));
    (stand, swap)
}

async fn leftovers(stand: &LocalStand, today: Day) -> Vec<Leftover> {
    let home = stand.home();
    let places = Places { warehouse: stand.warehouse(), home: &home, work: &home };
    places.leftovers(&ledger(stand).await, today).await.unwrap()
}

async fn removed(stand: &LocalStand, leftovers: &[Leftover]) {
    let home = stand.home();
    Places { warehouse: stand.warehouse(), home: &home, work: &home }.remove(leftovers).await.unwrap();
}

#[tokio::test]
async fn a_swap_that_dies_between_its_renames_is_finished_before_anything_else() {
    let (stand, swap) = about_to_be_swapped().await;
    for renames in 0..=2 {
        let lake = over(copied(stand.folder.path()), None);
        let kept = beside_table(&lake, &swap.kept);
        // Once it was a URL, which is that of another place in a copy.
        let url = format!("{}/{}", stand.lake.url(), swap.kept);
        let entry = Entry::Swapping { swap: Box::new(Swap { kept: url, ..swap.clone() }) };
        ledger(&lake).await.append(entry, NOW_US).await.unwrap();
        if renames > 0 {
            std::fs::rename(table_path(&lake), &kept).unwrap();
        }
        if renames > 1 {
            std::fs::rename(making(&lake), table_path(&lake)).unwrap();
        }
        assert_eq!(ledger(&lake).await.rows_after_last_merge(), None);
        assert_eq!(ledger(&lake).await.lost_rows(0), 0);
        if renames == 1 {
            // Nobody takes it for an empty one.
            let row = [fill("0xc1", json!("o"), EDGE_S, 1, 9.3)];
            for error in [
                lake.warehouse().check_target().await.unwrap_err(),
                lake.warehouse().audit().await.unwrap_err(),
                backfill(&lake, &row, RunOptions::default()).await.unwrap_err(),
            ] {
                assert_eq!(error.kind(), Kind::Busy, "{}", error.render());
                assert!(error.render().contains("it is about to be replaced"), "{}", error.render());
            }
        }
        settled(&lake).await.unwrap();
        let of_making = Entry::Migrating { run_id: swap.run_id.clone(), before: None, contract: String::new() };
        let folder = lake.home().join("mending").join("ledger");
        Ledger::open(folder, "dead".into()).await.unwrap().append(of_making, NOW_US).await.unwrap();
        let told = finished_mend(&run(&lake, options()), &ledger(&lake).await).await.unwrap().unwrap();
        assert_eq!((told.rows_before, told.rows_after, told.until), (8, 7, swap.until));
        assert!(told.kept.ends_with(&swap.kept), "{told:?}");
        assert_eq!(finished_mend(&run(&lake, options()), &ledger(&lake).await).await.unwrap(), Some(told));
        forget_mend(&run(&lake, options())).await.unwrap();
        assert_eq!(finished_mend(&run(&lake, options()), &ledger(&lake).await).await.unwrap(), None);
        must_be_mended(&lake).await;
        assert!(kept.is_dir());
        back(&lake, &swap.run_id, false).await.unwrap();
        assert_eq!(rows_of_files(&lake).await.len(), 8);
        assert!(!beside_table(&stand, &swap.kept).exists() && making(&stand).is_dir(), "another lake is left alone");
    }
}

#[tokio::test]
async fn a_table_that_somebody_has_written_to_before_the_swap_stays_and_is_mended_anew() {
    let (stand, swap) = about_to_be_swapped().await;
    planted(&stand, &[fill("0xA7", json!("o"), EDGE_S, 1, 0.7)]).await;
    settled(&stand).await.unwrap();
    assert_eq!(ledger(&stand).await.pending_swap(), None);
    assert_eq!(ledger(&stand).await.mended(&swap.run_id), None);
    assert_eq!(rows_of_files(&stand).await.len(), 9);
    mended(&stand, &staging()).await;
    let table = rows(&stand).await;
    assert_eq!((table.len(), table.iter().any(|row| row == "0xa7 1 0.7")), (8, true));
}

#[tokio::test]
async fn a_swap_that_can_not_be_done_is_given_up_and_holds_nobody_up() {
    let (stand, swap) = about_to_be_swapped().await;
    // The first rename fails.
    std::fs::write(beside_table(&stand, &swap.kept), "somebody's").unwrap();
    settled(&stand).await.unwrap();
    let own = ledger(&stand).await;
    assert_eq!((own.pending_swap(), own.mended(&swap.run_id), own.rows_after_last_merge()), (None, None, None));
    assert_eq!(rows_of_files(&stand).await.len(), 8);
    // What was made is still good.
    mended(&stand, &staging()).await;
    must_be_mended(&stand).await;
}

#[tokio::test]
async fn a_swap_whose_table_is_gone_has_not_come() {
    let (stand, swap) = about_to_be_swapped().await;
    std::fs::remove_dir_all(making(&stand)).unwrap();
    settled(&stand).await.unwrap();
    let own = ledger(&stand).await;
    assert_eq!((own.pending_swap(), own.mended(&swap.run_id)), (None, None));
}

#[tokio::test]
async fn a_swap_that_fails_half_of_the_way_is_undone_or_waits() {
    let (stand, swap) = about_to_be_swapped().await;
    let kept = beside_table(&stand, &swap.kept);
    // The table is aside, and something else is in its place.
    std::fs::rename(table_path(&stand), &kept).unwrap();
    std::fs::create_dir(table_path(&stand)).unwrap();
    std::fs::write(table_path(&stand).join("notes"), "somebody's").unwrap();
    assert_eq!(settled(&stand).await.unwrap_err().kind(), Kind::Usage);
    assert!(ledger(&stand).await.pending_swap().is_some() && kept.is_dir());
    std::fs::remove_dir_all(table_path(&stand)).unwrap();
    // What is on another disk can't be renamed; what is aside comes back.
    let Some(disk) = another_disk(stand.folder.path()) else { return };
    let mending = making(&stand).parent().unwrap().to_path_buf();
    copy_all(&mending, disk.path());
    std::fs::remove_dir_all(&mending).unwrap();
    std::os::unix::fs::symlink(disk.path(), &mending).unwrap();
    settled(&stand).await.unwrap();
    let own = ledger(&stand).await;
    assert_eq!((own.pending_swap(), own.mended(&swap.run_id)), (None, None));
    assert_eq!((rows_of_files(&stand).await.len(), kept.exists()), (8, false));
    let error = mended_by(&stand, &staging(), options()).await.unwrap_err();
    assert!(error.render().contains("the target is what it was"), "{}", error.render());
    assert_eq!((rows_of_files(&stand).await.len(), ledger(&stand).await.pending_swap()), (8, None));
}

/// A folder on another disk than a path, where the machine has one.
fn another_disk(than: &Path) -> Option<tempfile::TempDir> {
    use std::os::unix::fs::MetadataExt;
    let disk = tempfile::tempdir_in("/dev/shm").ok()?;
    let device = |path: &Path| path.metadata().unwrap().dev();
    (device(disk.path()) != device(than)).then_some(disk)
}

#[tokio::test]
async fn a_kept_table_of_which_files_are_gone_is_not_put_back() {
    let stand = old_lake().await;
    let name = mended(&stand, &staging()).await.proof.unwrap().migration;
    let (_, swap) = ledger(&stand).await.mended(&name).map(|(at, swap)| (at, swap.clone())).unwrap();
    let later = swap.until.plus(1);
    let is_refused = async |lake: &LocalStand| {
        let error = back(lake, &name, false).await.unwrap_err();
        assert_eq!(error.kind(), Kind::Data);
        assert!(error.render().contains("not all of its files are there"), "{}", error.render());
        must_be_mended(lake).await;
    };
    // Somebody has removed one.
    let lake = over(copied(stand.folder.path()), None);
    let files = tradefold::warehouse::local::table_files(&lake.lake.join(&swap.kept)).await.unwrap().files;
    std::fs::remove_file(files[0].path().unwrap()).unwrap();
    is_refused(&lake).await;
    // What is removed has another name from its first moment on, and the next one to clean up knows that.
    let lake = over(copied(stand.folder.path()), None);
    let half = beside_table(&lake, &format!("{}.removed", swap.kept));
    std::fs::rename(beside_table(&lake, &swap.kept), &half).unwrap();
    is_refused(&lake).await;
    let left = leftovers(&lake, swap.until).await;
    let tables: Vec<_> = left.iter().filter(|left| left.what == "dropped table").cloned().collect();
    assert_eq!((tables.len(), tables[0].kept_until), (1, None));
    removed(&lake, &tables).await;
    assert!(!half.exists());
    // And of a whole one nothing is left.
    let left = leftovers(&stand, later).await;
    let tables: Vec<_> = left.into_iter().filter(|left| left.what == "dropped table").collect();
    assert_eq!((tables.len(), tables[0].kept_until), (1, None));
    removed(&stand, &tables).await;
    assert_eq!(leftovers(&stand, later).await.iter().filter(|left| left.what == "dropped table").count(), 0);
    assert!(!beside_table(&stand, &swap.kept).exists());
    is_refused(&stand).await;
}

#[tokio::test]
async fn what_a_killed_writer_has_left_is_not_in_the_way() {
    let stand = old_lake().await;
    let name = mended(&stand, &staging()).await.proof.unwrap().migration;
    // Stores don't list files of this name.
    std::fs::create_dir_all(making(&stand)).unwrap();
    std::fs::write(making(&stand).join("part.parquet#1"), "half").unwrap();
    back(&stand, &name, false).await.unwrap();
    assert_eq!(rows_of_files(&stand).await.len(), 8);
    assert!(!table_path(&stand).join("part.parquet#1").exists());
}

#[tokio::test]
async fn two_mends_by_the_same_command_have_two_names_and_are_taken_back_in_order() {
    let stand = old_lake().await;
    let first = mended(&stand, &staging()).await.proof.unwrap().migration;
    let copy = fill("0xa5", json!("o"), EDGE_S + 40 * crate::warehouse::DAY_S, 1, 0.5);
    stand.plant(&[copy]).await;
    assert_eq!(rows_of_files(&stand).await.len(), 8);
    let second = mended(&stand, &staging()).await.proof.unwrap().migration;
    assert_ne!(first, second);
    assert_eq!(back(&stand, &first, false).await.unwrap_err().kind(), Kind::Usage, "the other one came later");
    for (name, rows) in [(&second, 8), (&first, 8)] {
        back(&stand, name, false).await.unwrap();
        assert_eq!(rows_of_files(&stand).await.len(), rows);
    }
    assert_eq!(ledger(&stand).await.migrations(), Vec::<&str>::new());
}

#[tokio::test]
async fn a_table_is_not_mended_while_a_migration_is_half_taken_back() {
    let stand = crowded().await;
    merged(&stand, &production()).await;
    let name = migrated(&stand, &staging()).await.run.run_id;
    let begun = Entry::RollingBack { run_id: name.clone(), rows: 7 };
    ledger(&stand).await.append(begun, NOW_US).await.unwrap();
    let error = mended_by(&stand, &staging(), options()).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Usage);
    assert!(error.render().contains(&format!("--roll-back {name} --yes")), "{}", error.render());
    back(&stand, &name, false).await.unwrap();
    mended(&stand, &[]).await;
}
