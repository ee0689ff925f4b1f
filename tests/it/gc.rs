//! What runs leave behind, and its removal.

use crate::warehouse::Stand;
use crate::warehouse::local::LocalStand;
use tradefold::gc::{Leftover, Places};
use tradefold::ledger::Ledger;
use tradefold::window::Day;

#[tokio::test]
async fn exports_and_plans_that_nobody_has_finished_are_listed_and_removed() {
    let stand = LocalStand::new();
    let (home, work) = (stand.home(), stand.lake.join("work"));
    for (folder, name) in [(&home, "exports/a"), (&home, "plans/p/stage"), (&work, "exports/b"), (&work, "exports/b/c")]
    {
        folder.join(name).put("0.parquet", "rows".into()).await.unwrap();
    }
    // No store lists what a killed writer has left.
    let hidden = work.join("exports/b").local_path().unwrap().join("1.parquet#1");
    std::fs::write(&hidden, "half").unwrap();
    let ledger = Ledger::open(home.join("ledger"), String::new()).await.unwrap();
    let places = Places { warehouse: stand.warehouse(), home: &home, work: &work };
    let left = places.leftovers(&ledger, Day(0)).await.unwrap();
    let shown = |left: &Leftover| {
        assert_eq!(left.needed_by.as_deref(), Some("a command that reads the table"));
        format!("{} {} {}", left.what, left.place.rsplit_once("/lake/").unwrap().1, left.files)
    };
    let expected = [
        "exported objects _tradefold/fills/exports/a 1",
        "exported objects work/exports/b 2",
        "exported objects _tradefold/fills/plans/p 1",
    ];
    assert_eq!(left.iter().map(shown).collect::<Vec<_>>(), expected);
    places.remove(&left).await.unwrap();
    assert_eq!(places.leftovers(&ledger, Day(0)).await.unwrap().len(), 0);
    assert!(!hidden.exists());
}
