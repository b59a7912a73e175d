//! Functions on numbers.

use super::{Function, Problem, Value, argument, float, pure, text, wrong};
use crate::go::number::{read_float, read_int, truncate};

pub(super) const FUNCTIONS: &[Function] = &[
    pure("int", 1, 1, |arguments| match argument(arguments, 0) {
        number @ Value::Int(_) => Ok(number.clone()),
        Value::Float(number) => Ok(Value::Int(truncate(*number))),
        Value::Duration(number) => Ok(Value::Int(*number)),
        Value::Text(text) => {
            read_int(text).map(Value::Int).ok_or_else(|| Problem::new(format!("`{text}` is no whole number")))
        }
        Value::Object(object) => {
            object.field(super::super::value::NUMBER).ok_or_else(|| wrong(arguments, 0, "a number"))
        }
        _ => Err(wrong(arguments, 0, "a number or a text")),
    }),
    pure("float", 1, 1, |arguments| match argument(arguments, 0) {
        Value::Text(text) => {
            read_float(text).map(Value::Float).ok_or_else(|| Problem::new(format!("`{text}` is no number")))
        }
        _ => float(arguments, 0).map(Value::Float),
    }),
    pure("Atof", 1, 1, |arguments| Ok(Value::Float(read_float(text(arguments, 0)?).unwrap_or(0.0)))),
    pure("type", 1, 1, |arguments| Ok(Value::text(argument(arguments, 0).kind()))),
    pure("abs", 1, 1, |arguments| match argument(arguments, 0) {
        Value::Int(number) => Ok(Value::Int(number.wrapping_abs())),
        _ => float(arguments, 0).map(|number| Value::Float(number.abs())),
    }),
    pure("ceil", 1, 1, |arguments| float(arguments, 0).map(|number| Value::Float(number.ceil()))),
    pure("floor", 1, 1, |arguments| float(arguments, 0).map(|number| Value::Float(number.floor()))),
    pure("round", 1, 1, |arguments| float(arguments, 0).map(|number| Value::Float(number.round()))),
    pure("max", 1, usize::MAX, |arguments| extreme(arguments, std::cmp::Ordering::Greater)),
    pure("min", 1, usize::MAX, |arguments| extreme(arguments, std::cmp::Ordering::Less)),
    pure("mean", 1, usize::MAX, |arguments| {
        let numbers = floats(arguments)?;
        #[expect(clippy::cast_precision_loss, reason = "a count")]
        let count = numbers.len().max(1) as f64;
        Ok(Value::Float(numbers.iter().sum::<f64>() / count))
    }),
    pure("median", 1, usize::MAX, |arguments| {
        let mut numbers = floats(arguments)?;
        numbers.sort_by(f64::total_cmp);
        let middle = numbers.len() / 2;
        Ok(Value::Float(match numbers.get(middle) {
            None => 0.0,
            Some(number) if numbers.len() % 2 == 1 => *number,
            Some(number) => (numbers.get(middle.wrapping_sub(1)).unwrap_or(number) + number) / 2.0,
        }))
    }),
    pure("FloatApproxEqual", 2, 2, |arguments| {
        Ok(Value::Bool((float(arguments, 0)? - float(arguments, 1)?).abs() < 1e-6))
    }),
    pure("Distance", 4, 4, distance),
    pure("bitand", 2, 2, |arguments| bits(arguments, |a, b| a & b)),
    pure("bitor", 2, 2, |arguments| bits(arguments, |a, b| a | b)),
    pure("bitxor", 2, 2, |arguments| bits(arguments, |a, b| a ^ b)),
    pure("bitnand", 2, 2, |arguments| bits(arguments, |a, b| a & !b)),
    pure("bitshl", 2, 2, |arguments| shifted(arguments, |a, by| if by < 64 { a << by } else { 0 })),
    pure("bitshr", 2, 2, |arguments| shifted(arguments, |a, by| a >> by.min(63))),
    pure("bitushr", 2, 2, |arguments| {
        shifted(arguments, |a, by| if by < 64 { (a.cast_unsigned() >> by).cast_signed() } else { 0 })
    }),
    pure("bitnot", 1, 1, |arguments| Ok(Value::Int(!integer(arguments, 0)?))),
];

fn integer(arguments: &[Value], place: usize) -> Result<i64, Problem> {
    match argument(arguments, place) {
        Value::Int(number) => Ok(*number),
        _ => Err(wrong(arguments, place, "a whole number")),
    }
}

fn bits(arguments: &[Value], work: fn(i64, i64) -> i64) -> Result<Value, Problem> {
    Ok(Value::Int(work(integer(arguments, 0)?, integer(arguments, 1)?)))
}

fn shifted(arguments: &[Value], work: fn(i64, u32) -> i64) -> Result<Value, Problem> {
    let by = u32::try_from(integer(arguments, 1)?).map_err(|_| wrong(arguments, 1, "a positive number"))?;
    Ok(Value::Int(work(integer(arguments, 0)?, by)))
}

/// The numbers of the arguments and of the lists among them.
fn numbers(arguments: &[Value]) -> Result<Vec<Value>, Problem> {
    let mut found = Vec::new();
    for value in arguments {
        let inner = match value {
            Value::List(inner) => inner,
            other => std::slice::from_ref(other),
        };
        for value in inner {
            if value.as_number().is_none() {
                return Err(Problem::new(format!("{} is no number", value.kind())));
            }
            found.push(value.clone());
        }
    }
    Ok(found)
}

fn floats(arguments: &[Value]) -> Result<Vec<f64>, Problem> {
    Ok(numbers(arguments)?.iter().filter_map(Value::as_number).collect())
}

fn extreme(arguments: &[Value], wanted: std::cmp::Ordering) -> Result<Value, Problem> {
    let found = numbers(arguments)?;
    let best =
        found.into_iter().reduce(|best, next| if next.order(&best) == Some(wanted) { next } else { best });
    Ok(best.unwrap_or_default())
}

/// Kilometres between two places on a ball of 6371 km, by the haversine formula; 0 if one of them is at 0,0, which
/// stands for unknown.
fn distance(arguments: &[Value]) -> Result<Value, Problem> {
    let mut degrees = [0.0; 4];
    for (place, degree) in degrees.iter_mut().enumerate() {
        let text = text(arguments, place)?;
        *degree = read_float(text).ok_or_else(|| Problem::new(format!("`{text}` is no coordinate")))?;
    }
    let [latitude, longitude, other_latitude, other_longitude] = degrees;
    if (latitude == 0.0 && longitude == 0.0) || (other_latitude == 0.0 && other_longitude == 0.0) {
        return Ok(Value::Float(0.0));
    }
    let (from, to) = (latitude.to_radians(), other_latitude.to_radians());
    let (north, east) = (to - from, (other_longitude - longitude).to_radians());
    let chord = (north / 2.0).sin().powi(2) + from.cos() * to.cos() * (east / 2.0).sin().powi(2);
    Ok(Value::Float(2.0 * chord.sqrt().atan2((1.0 - chord).sqrt()) * 6371.0))
}
