//! Functions that statements need and DataFusion does not have. DuckDB has them as macros of the same names.

use crate::sql::{KEY_NUMBER, MICROS};
use arrow::array::{ArrayRef, AsArray, Int64Array};
use arrow::compute::cast;
use arrow::datatypes::{DataType, TimeUnit};
use datafusion::common::{DataFusionError, Result, exec_datafusion_err};
use datafusion::logical_expr::{
    ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility, create_udf,
};
use std::sync::Arc;
use xxhash_rust::xxh3::xxh3_64;

/// The function that spreads texts over the whole numbers from 0, fast, and only within this process.
pub const KEY_HASH: &str = "key_hash";
/// How many hexadecimal digits make a number.
const DIGITS: usize = 13;

/// All of them.
pub(super) fn functions() -> Vec<ScalarUDF> {
    let of_digits = create_udf(
        KEY_NUMBER,
        vec![DataType::Utf8],
        DataType::Int64,
        Volatility::Immutable,
        Arc::new(|arguments: &[ColumnarValue]| on_array(&arguments[0], key_numbers)),
    );
    let hash = create_udf(
        KEY_HASH,
        vec![DataType::Utf8],
        DataType::Int64,
        Volatility::Immutable,
        Arc::new(|arguments: &[ColumnarValue]| on_array(&arguments[0], key_hashes)),
    );
    vec![of_digits, hash, ScalarUDF::from(Micros(Signature::any(1, Volatility::Immutable)))]
}

/// Microseconds of times of any zone and unit.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Micros(Signature);

impl ScalarUDFImpl for Micros {
    fn name(&self) -> &str {
        MICROS
    }

    fn signature(&self) -> &Signature {
        &self.0
    }

    fn return_type(&self, _arguments: &[DataType]) -> Result<DataType> {
        Ok(DataType::Int64)
    }

    fn invoke_with_args(&self, arguments: ScalarFunctionArgs) -> Result<ColumnarValue> {
        on_array(&arguments.args[0], |times| {
            let micros = cast(times, &DataType::Timestamp(TimeUnit::Microsecond, None))?;
            Ok(cast(&micros, &DataType::Int64)?)
        })
    }
}

/// Applies what is done with an array to a value of either kind.
fn on_array(value: &ColumnarValue, apply: impl Fn(&ArrayRef) -> Result<ArrayRef>) -> Result<ColumnarValue> {
    match value {
        ColumnarValue::Array(array) => apply(array).map(ColumnarValue::Array),
        ColumnarValue::Scalar(scalar) => {
            let array = apply(&scalar.to_array()?)?;
            datafusion::scalar::ScalarValue::try_from_array(&array, 0).map(ColumnarValue::Scalar)
        }
    }
}

fn key_hashes(texts: &ArrayRef) -> Result<ArrayRef> {
    let texts = cast(texts, &DataType::Utf8)?;
    let hash = |text: Option<&str>| text.map(|text| (xxh3_64(text.as_bytes()) >> 1) as i64);
    Ok(Arc::new(texts.as_string::<i32>().iter().map(hash).collect::<Int64Array>()))
}

fn key_numbers(texts: &ArrayRef) -> Result<ArrayRef> {
    let texts = cast(texts, &DataType::Utf8)?;
    let number = |text: Option<&str>| match text {
        None => Ok(None),
        Some(text) => match text.get(..DIGITS).map(|digits| i64::from_str_radix(digits, 16)) {
            Some(Ok(number)) => Ok(Some(number)),
            _ => Err(exec_datafusion_err!("`{text}` does not begin with {DIGITS} hexadecimal digits")),
        },
    };
    let numbers = texts.as_string::<i32>().iter().map(number).collect::<Result<Int64Array, DataFusionError>>()?;
    Ok(Arc::new(numbers))
}
