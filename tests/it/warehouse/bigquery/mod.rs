//! BigQuery on a stand: the whole suite runs against an emulator of it.

mod budget;
mod copies;
mod crash;
mod export;
mod extract;
mod faults;
pub(crate) mod front;
mod in_place;
pub(crate) mod script;
pub(crate) mod servers;
pub(crate) mod stand;
mod table;
mod writers;

use super::{EDGE_S, Stand, ascending, contract, fill, fills};
use serde_json::Value;
use stand::BigQueryStand;

/// Runs each function of the suite on fresh stands, one for each contract.
macro_rules! suite {
    ($($name:ident),* $(,)?) => {
        mod descending_by_day {
            use super::*;
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $name() {
                let stand = Box::pin(BigQueryStand::crowded(fills())).await;
                Box::pin(contract::$name(&stand)).await;
            })*
        }

        mod ascending_in_one_part {
            use super::*;
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $name() {
                let stand = Box::pin(BigQueryStand::crowded(ascending())).await;
                Box::pin(contract::$name(&stand)).await;
            })*
        }
    };
}

promises!(suite);

#[tokio::test(flavor = "multi_thread")]
async fn what_a_merge_did_is_remembered() {
    let front = front::Front::start(&servers::servers().bigquery).await;
    let place = stand::place(servers::servers()).await;
    let stand = BigQueryStand::at(fills(), place, stand::access(&front.url, false)).await;
    Box::pin(contract::what_a_merge_did_is_remembered(&stand)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_target_without_rows_has_no_values() {
    let stand = BigQueryStand::new(fills()).await;
    contract::there_are_no_values(&stand).await;
    stand.plant(&[fill("0xa", Value::Null, EDGE_S, 1, 0.1)]).await;
    assert_eq!(stand.warehouse().values("wallet", None).await.unwrap().len(), 1);
    stand.roll_back().await;
    contract::there_are_no_values(&stand).await;
}
