//! Rows as the Dome API returns them.

use super::chance::Shuffle;
use super::timeline::{RUNS, Row, Timeline};
use super::{Planted, Profile, Recipe};
use crate::error::{Doing, Result};
use serde_json::{Value, json};
use std::path::Path;

/// Writes the rows of a recipe as JSON pages of the API's form, `page_rows` to a page, and says what was planted.
///
/// Runs follow each other, each newest first and with pages of its own (`spread`: one run of all). Beside the API's
/// fields the rows carry the ingester's `id`, `source_run` (always `API`) and `fetched_at`, without which they would
/// not be the same rows. The key numbers are held in memory: this is for small recipes.
///
/// # Errors
/// Usage, when the recipe makes no sense; else what the file system says.
pub fn write_pages(recipe: &Recipe, folder: &Path, page_rows: usize) -> Result<Planted> {
    let timeline = Timeline::new(recipe)?;
    std::fs::create_dir_all(folder).doing("make a folder for pages")?;
    match recipe.profile {
        Profile::Rerun => {
            for run in 0..RUNS {
                let caught = (0..timeline.keys()).rev().filter(|key| timeline.runs_of(*key) & (1 << run) != 0);
                let rows = caught.map(|key| (key, run)).collect::<Vec<_>>();
                write_run(&timeline, &rows, page_rows, &|page| {
                    folder.join(format!("run-{}-page-{page:04}.json", run + 1))
                })?;
            }
        }
        Profile::Spread => {
            let shuffle = Shuffle::new(recipe.seed, recipe.rows);
            let rows = (0..recipe.rows).map(|place| timeline.at_row(shuffle.at(place))).collect::<Vec<_>>();
            write_run(&timeline, &rows, page_rows, &|page| folder.join(format!("page-{page:04}.json")))?;
        }
    }
    Ok(timeline.planted())
}

fn write_run(
    timeline: &Timeline,
    rows: &[(u64, u8)],
    page_rows: usize,
    path: &dyn Fn(usize) -> std::path::PathBuf,
) -> Result<()> {
    let mut row = Row::default();
    for (page, keys) in rows.chunks(page_rows.max(1)).enumerate() {
        let orders = keys.iter().map(|(key, run)| {
            timeline.fill_row(*key, *run, &mut row);
            order(&row)
        });
        let orders = orders.collect::<Vec<_>>();
        let offset = page * page_rows.max(1);
        let has_more = offset + keys.len() < rows.len();
        let mut pagination = json!({"limit": page_rows, "offset": offset, "total": rows.len(), "has_more": has_more});
        if has_more {
            pagination["pagination_key"] = json!(format!("{}_{}", row.timestamp, row.tx_hash));
        }
        let text = json!({"orders": orders, "pagination": pagination}).to_string();
        std::fs::write(path(page + 1), text).doing("write a page")?;
    }
    Ok(())
}

/// One object of the array; shares without a fraction are an integer, as the API has it.
fn order(row: &Row<'_>) -> Value {
    let shares = match row.shares % 1_000_000 {
        0 => json!(row.shares / 1_000_000),
        _ => json!(row.shares as f64 / 1e6),
    };
    json!({
        "token_id": row.token_id,
        "token_label": row.token_label,
        "side": row.side,
        "market_slug": row.market_slug,
        "condition_id": row.condition_id,
        "shares": row.shares,
        "shares_normalized": shares,
        "price": row.price,
        "block_number": row.block_number,
        "log_index": row.log_index,
        "tx_hash": row.tx_hash,
        "title": row.title,
        "timestamp": row.timestamp,
        "order_hash": row.order_hash,
        "user": row.wallet_address,
        "taker": row.taker,
        "id": row.id,
        "source_run": "API",
        "fetched_at": row.fetched_at,
    })
}
