//! The key and the declared order: parsed once from their text, rendered by [`crate::sql`].

use crate::error::{Error, Result};
use sqlparser::ast::{Expr, FunctionArg, FunctionArgExpr, FunctionArguments, OrderByExpr, Value};
use sqlparser::dialect::BigQueryDialect;
use sqlparser::parser::Parser;
use std::fmt;

/// What stands in for a NULL in a key column.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum StandIn {
    /// Another column's value.
    Column(String),
    /// A fixed text.
    Text(String),
}

/// One part of a key: a column, perhaps with stand-ins for NULL.
///
/// Without a stand-in a NULL is rejected at landing, since no MERGE ever matches it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct KeyPart {
    /// The column.
    pub column: String,
    /// What stands in for its NULL: the first that is not NULL itself. Empty: nothing does.
    pub stand_ins: Vec<StandIn>,
}

impl KeyPart {
    /// Every column that the part reads.
    pub fn columns(&self) -> impl Iterator<Item = &str> {
        std::iter::once(self.column.as_str()).chain(self.stand_ins.iter().filter_map(|s| match s {
            StandIn::Column(name) => Some(name.as_str()),
            StandIn::Text(_) => None,
        }))
    }

    /// Whether the part is never NULL, whatever its columns hold: a text stands in.
    pub fn is_never_null(&self) -> bool {
        self.stand_ins.iter().any(|stand_in| matches!(stand_in, StandIn::Text(_)))
    }
}

impl fmt::Display for KeyPart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.stand_ins.is_empty() {
            return f.write_str(&self.column);
        }
        write!(f, "COALESCE({}", self.column)?;
        for stand_in in &self.stand_ins {
            match stand_in {
                StandIn::Column(name) => write!(f, ", {name}")?,
                StandIn::Text(text) => write!(f, ", '{}'", text.replace('\'', "''"))?,
            }
        }
        f.write_str(")")
    }
}

/// One column of the declared order. The NULLS clause is always there: the engines' defaults differ.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct OrderColumn {
    /// The column.
    pub column: String,
    /// Whether the greatest value is the best.
    pub descending: bool,
    /// Whether NULL is better than every value.
    pub nulls_first: bool,
}

impl fmt::Display for OrderColumn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let direction = if self.descending { "DESC" } else { "ASC" };
        let nulls = if self.nulls_first { "FIRST" } else { "LAST" };
        write!(f, "{} {direction} NULLS {nulls}", self.column)
    }
}

/// Parses a key: `wallet, tx, COALESCE(order_hash, id, '')`.
///
/// # Errors
/// Usage, when a part is anything but a column or a COALESCE of columns and texts.
pub fn parse_key(text: &str) -> Result<Vec<KeyPart>> {
    let exprs = parser(text)
        .and_then(|mut p| p.parse_comma_separated(Parser::parse_expr).and_then(|list| ended(&mut p, list)))
        .map_err(|error| unreadable("key", text).because(error))?;
    exprs.iter().map(|expr| key_part(expr).ok_or_else(|| unreadable("key", &expr.to_string()))).collect()
}

/// Parses an order: `ts DESC NULLS LAST, id`. Without a NULLS clause NULL is the least value, as in GoogleSQL.
///
/// # Errors
/// Usage, when an item is anything but a column with its direction.
pub fn parse_order(text: &str) -> Result<Vec<OrderColumn>> {
    let items = parser(text)
        .and_then(|mut p| p.parse_comma_separated(Parser::parse_order_by_expr).and_then(|list| ended(&mut p, list)))
        .map_err(|error| unreadable("order", text).because(error))?;
    items.iter().map(|item| order_column(item).ok_or_else(|| unreadable("order", &item.to_string()))).collect()
}

type ParserResult<T> = std::result::Result<T, sqlparser::parser::ParserError>;

fn parser(text: &str) -> ParserResult<Parser<'static>> {
    Parser::new(&BigQueryDialect {}).try_with_sql(text)
}

fn ended<T>(parser: &mut Parser<'_>, value: T) -> ParserResult<T> {
    parser.expect_token(&sqlparser::tokenizer::Token::EOF)?;
    Ok(value)
}

fn unreadable(what: &str, text: &str) -> Error {
    let form = match what {
        "key" => "write columns, each alone or as COALESCE(column, other_column, 'text'), separated by commas",
        _ => "write columns with ASC or DESC and NULLS FIRST or NULLS LAST, separated by commas",
    };
    Error::usage(format!("understand the {what}")).with("text", text).hint(form)
}

fn key_part(expr: &Expr) -> Option<KeyPart> {
    match expr {
        Expr::Identifier(name) => Some(KeyPart { column: name.value.clone(), stand_ins: Vec::new() }),
        Expr::Function(function) if function.name.to_string().eq_ignore_ascii_case("coalesce") => {
            let FunctionArguments::List(list) = &function.args else { return None };
            // Nothing but values between its brackets and nothing after them: no DISTINCT, no OVER.
            let args = list.args.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
            if function.to_string() != format!("{}({args})", function.name) {
                return None;
            }
            let mut values = list.args.iter().map(|arg| match arg {
                FunctionArg::Unnamed(FunctionArgExpr::Expr(Expr::Identifier(name))) => {
                    Some(StandIn::Column(name.value.clone()))
                }
                FunctionArg::Unnamed(FunctionArgExpr::Expr(Expr::Value(value))) => match &value.value {
                    Value::SingleQuotedString(text) | Value::DoubleQuotedString(text) => {
                        Some(StandIn::Text(text.clone()))
                    }
                    _ => None,
                },
                _ => None,
            });
            let StandIn::Column(column) = values.next()?? else { return None };
            let stand_ins = values.collect::<Option<Vec<_>>>()?;
            (!stand_ins.is_empty()).then_some(KeyPart { column, stand_ins })
        }
        _ => None,
    }
}

fn order_column(item: &OrderByExpr) -> Option<OrderColumn> {
    let Expr::Identifier(name) = &item.expr else { return None };
    let descending = item.options.asc == Some(false);
    let nulls_first = item.options.nulls_first.unwrap_or(!descending);
    Some(OrderColumn { column: name.value.clone(), descending, nulls_first })
}
