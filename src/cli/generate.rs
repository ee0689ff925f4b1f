//! `tradefold generate`

use super::Outcome;
use crate::error::Result;
use crate::generate::{Profile, Recipe, generate, write_pages};
use crate::window::{Day, parse_us};
use clap::{Args as ClapArgs, ValueEnum};
use std::path::PathBuf;

/// Make trades with a known number of duplicates of each kind, to try tradefold on.
#[derive(Debug, ClapArgs)]
pub(super) struct Args {
    /// The folder for the files.
    #[arg(long, value_name = "FOLDER")]
    out: PathBuf,
    /// How many rows.
    #[arg(long, default_value_t = 1_000_000)]
    rows: u64,
    /// How the copies lie: three runs over one time line, or anywhere.
    #[arg(long, value_enum, default_value_t = Layout::Rerun)]
    profile: Layout,
    /// Another seed makes other trades.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// The share of row groups with odd copies: other ids, other times, other prices.
    #[arg(long, default_value_t = 0.1)]
    odd_share: f64,
    /// How many keys are too narrow for their events.
    #[arg(long, default_value_t = 0)]
    suspects: u64,
    /// How many days the trades span.
    #[arg(long)]
    days: Option<u32>,
    /// The first day of the trades.
    #[arg(long, value_name = "DAY")]
    first_day: Option<String>,
    /// How many files each run has.
    #[arg(long)]
    files: Option<u32>,
    /// Write JSON pages of this many rows, as the API returns them, and not Parquet.
    #[arg(long, value_name = "ROWS")]
    pages: Option<usize>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Layout {
    Rerun,
    Spread,
}

pub(super) fn run(args: &Args) -> Result<Outcome> {
    let profile = match args.profile {
        Layout::Rerun => Profile::Rerun,
        Layout::Spread => Profile::Spread,
    };
    let mut recipe = Recipe::new(profile, args.rows, args.seed);
    recipe.odd_share = args.odd_share;
    recipe.suspects = args.suspects;
    recipe.days = args.days.unwrap_or(recipe.days);
    if let Some(day) = &args.first_day {
        recipe.first_day = Day::of_us(parse_us(day)?);
    }
    recipe.files = args.files.unwrap_or(recipe.files);
    let planted = match args.pages {
        Some(page_rows) => write_pages(&recipe, &args.out, page_rows)?,
        None => generate(&recipe, &args.out)?,
    };
    let json = serde_json::to_value(&planted).unwrap_or_default();
    let text = format!("{json:#}\n");
    Outcome::new(text, &planted, None)
}
