//! Which way the rows of a table of BigQuery take into another one: they land where they lie, or are exported.

use super::sourcing::Sourcing;
use crate::error::{Error, Result};
use crate::landing::LandingOptions;
use crate::report::{RoutePrice, Routes};
use crate::warehouse::bigquery::{InPlace, SCHEME, TableName};
use crate::warehouse::usage::cents;
use clap::{Args, ValueEnum};

/// Which way.
#[derive(Debug, Args)]
pub(super) struct RouteArgs {
    /// Where both tables are in BigQuery: land and deduplicate the rows where they lie, by one statement, or export the
    /// table, do it here, and load the winners. Both give the same table. auto takes the cheaper one of those that can
    /// be taken.
    #[arg(long, value_enum, default_value_t = Route::Auto)]
    route: Route,
    /// What a GiB costs that leaves BigQuery for this machine, for the price of an export: 0 on a machine in the same
    /// region.
    #[arg(long, value_name = "PRICE", default_value_t = 0.12, value_parser = super::target::parse_price)]
    #[arg(help_heading = "BigQuery")]
    price_per_gib_out: f64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Route {
    Auto,
    InPlace,
    Export,
}

const GIB: f64 = (1_u64 << 30) as f64;

impl RouteArgs {
    /// Looks at both ways. Gives the table if it is to land where it lies, and both prices where there is a choice at
    /// all. `obstacle`: what else is asked of the migration that only an export can do.
    ///
    /// # Errors
    /// Usage, where it can't go the way that is asked for.
    pub(super) async fn choose<'a>(
        &self,
        from: &[String],
        obstacle: Option<&str>,
        sourcing: &Sourcing<'a>,
        options: &LandingOptions,
    ) -> Result<(Option<InPlace<'a>>, Option<Routes>)> {
        let refused = |why: String| {
            Error::usage("land a table where it lies").because(why).hint("leave --route away, or give --route export")
        };
        let place = match from {
            [place] if place.starts_with(SCHEME) && sourcing.target.warehouse.target().starts_with(SCHEME) => place,
            _ if self.route == Route::InPlace => {
                return Err(refused("one table of BigQuery can, if the target is in BigQuery, too".into()));
            }
            _ => return Ok((None, None)),
        };
        let table = TableName::parse(place, || Ok(sourcing.dataset.name.clone()))?;
        sourcing.must_not_be_target(place, &table)?;
        let mut obstacles: Vec<String> = obstacle.into_iter().map(str::to_string).collect();
        let found = match sourcing.target.warehouse.in_place(&table, options).await? {
            Ok(found) => Some(found),
            Err(reasons) => {
                obstacles.extend(reasons);
                None
            }
        };
        let size_bytes = match &found {
            Some(found) => found.size_bytes(),
            None => sourcing.target.warehouse.size_of(&table).await?,
        };
        let left = size_bytes as f64 / GIB * self.price_per_gib_out * 100.0;
        let export = RoutePrice { size_bytes, price_cents: left.round() as u64 };
        let mut in_place = None;
        if let Some(found) = found.as_ref().filter(|_| obstacles.is_empty()) {
            let bytes = found.bytes().await?;
            let (largest, size_bytes) = (bytes.largest(), bytes.total());
            if let Some(most) = sourcing.bigquery.max_bytes_billed.filter(|most| *most < largest) {
                obstacles.push(format!(
                    "a statement would read {largest} bytes of it, and --max-bytes-billed allows {most}"
                ));
            }
            let price_cents = cents(size_bytes, sourcing.bigquery.price_per_tib);
            in_place = Some(RoutePrice { size_bytes, price_cents });
        }
        let is_in_place = match (self.route, in_place) {
            (Route::InPlace, _) if !obstacles.is_empty() => {
                return Err(refused(obstacles.join("; ")).with("source", place));
            }
            (_, None) | (Route::Export, _) => false,
            (Route::InPlace, _) => true,
            (Route::Auto, Some(price)) => obstacles.is_empty() && price.price_cents <= export.price_cents,
        };
        let routes = Routes { is_in_place, obstacles, in_place, export };
        Ok((found.filter(|_| is_in_place), Some(routes)))
    }
}
