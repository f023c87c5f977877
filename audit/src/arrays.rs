//! A user's own arrays: NumPy's `.npz` and `.npy`, and whether they are the transitions that a program needs.
//!
//! A file may be made to hurt: nothing in it is believed before it is checked against what is there.

use std::io::{Cursor, Read};

use hecc_plan::{Tensor, Tensors};
use npyz::{Deserialize, NpyFile};
use py_literal::Value;
use zip::ZipArchive;
use zip::result::ZipError;

/// What a file may unpack to, in bytes.
pub const MOST: u64 = 1 << 30;
/// The arrays that a file may hold.
const ARRAYS: usize = 256;
/// The bytes that an array's header may have; NumPy writes 118 for most.
const HEADER: usize = 1 << 12;
/// How deep brackets may nest in it: a dictionary, a tuple.
const DEEP: usize = 4;
/// How many extents a shape may have.
const EXTENTS: usize = 8;
/// What every NumPy file begins with.
const MAGIC: &[u8] = b"\x93NUMPY";

/// Why arrays were refused.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum DataError {
    /// HE0711.
    #[error("this is neither an .npz nor an .npy file, or it is damaged: {0}")]
    Damaged(String),
    /// HE0711.
    #[error("`{name}` is damaged: {why}")]
    Array {
        /// Which array.
        name: String,
        /// What is wrong.
        why: String,
    },
    /// HE0712.
    #[error("`{name}` has elements of type {dtype}; floats of 4 or 8 bytes, integers and booleans are read")]
    Type {
        /// Which array.
        name: String,
        /// Its type, as NumPy writes it.
        dtype: String,
    },
    /// HE0713.
    #[error("the file unpacks to more than {most} bytes, or to more than {ARRAYS} arrays")]
    TooLarge {
        /// How many bytes it may.
        most: u64,
    },
    /// HE0714.
    #[error("`{name}` is no array of this program; it has {has}")]
    Name {
        /// The unknown name.
        name: String,
        /// Those that are known.
        has: String,
    },
    /// HE0714.
    #[error("there is no array `{name}`")]
    Missing {
        /// Its name.
        name: String,
    },
    /// HE0715.
    #[error("`{name}` has shape {got:?}, where the program needs {want}")]
    Shape {
        /// Which array.
        name: String,
        /// Its shape.
        got: Vec<usize>,
        /// What the program needs.
        want: String,
    },
    /// HE0716.
    #[error("`{name}` holds {value} at {index}, which is not {want}")]
    Value {
        /// Which array.
        name: String,
        /// The first wrong value.
        value: f64,
        /// Where it stands among all elements.
        index: usize,
        /// What it should be.
        want: String,
    },
}

impl DataError {
    /// Its code.
    pub fn code(&self) -> &'static str {
        match self {
            DataError::Damaged(_) | DataError::Array { .. } => "HE0711",
            DataError::Type { .. } => "HE0712",
            DataError::TooLarge { .. } => "HE0713",
            DataError::Name { .. } | DataError::Missing { .. } => "HE0714",
            DataError::Shape { .. } => "HE0715",
            DataError::Value { .. } => "HE0716",
        }
    }
}

/// Reads all arrays of an `.npz` file, or the one of an `.npy` file, which is called `stem`.
///
/// # Errors
/// [`DataError`].
pub fn read(bytes: &[u8], stem: &str) -> Result<Tensors, DataError> {
    read_within(bytes, stem, MOST)
}

/// The same, for files that unpack to at most `most` bytes.
///
/// # Errors
/// [`DataError`].
pub fn read_within(bytes: &[u8], stem: &str, most: u64) -> Result<Tensors, DataError> {
    if bytes.starts_with(MAGIC) {
        if bytes.len() as u64 > most {
            return Err(DataError::TooLarge { most });
        }
        let tensor = array(bytes, stem, most)?.ok_or(DataError::TooLarge { most })?;
        return Ok(Tensors::from([(stem.to_owned(), tensor)]));
    }
    let damaged = |error: ZipError| DataError::Damaged(error.to_string());
    let mut archive = ZipArchive::new(Cursor::new(bytes)).map_err(damaged)?;
    if archive.len() > ARRAYS {
        return Err(DataError::TooLarge { most });
    }
    let (mut tensors, mut left) = (Tensors::new(), most);
    for index in 0..archive.len() {
        let entry = archive.by_index(index).map_err(damaged)?;
        let file = entry.name().map_err(damaged)?.into_owned();
        let Some(name) = file.strip_suffix(".npy").map(str::to_owned) else {
            return Err(DataError::Damaged(format!("it holds `{file}`, which is no array")));
        };
        let mut unpacked = Vec::new();
        // What the archive says about its sizes need not be true: it is read until it ends or is too much.
        let count = entry.take(left + 1).read_to_end(&mut unpacked);
        let count = count.map_err(|error| DataError::Array { name: name.clone(), why: error.to_string() })? as u64;
        if count > left {
            return Err(DataError::TooLarge { most });
        }
        let Some(tensor) = array(&unpacked, &name, left)? else { return Err(DataError::TooLarge { most }) };
        left = left.saturating_sub(count.max(8 * tensor.data.len() as u64));
        if tensors.insert(name.clone(), tensor).is_some() {
            return Err(DataError::Array { name, why: "there are two of it".to_owned() });
        }
    }
    Ok(tensors)
}

/// What the header of an array says, once it is known to be true of its bytes.
struct Header {
    shape: Vec<usize>,
    dtype: String,
}

/// Checks the header by itself, so that the reader of arrays is only given what it can read.
fn header(bytes: &[u8], name: &str) -> Result<Header, DataError> {
    let wrong = |why: &str| DataError::Array { name: name.to_owned(), why: why.to_owned() };
    let short = || wrong("it ends too early");
    if !bytes.starts_with(MAGIC) {
        return Err(wrong("it does not begin as an .npy file does"));
    }
    let (length, start) = match *bytes.get(6..12).ok_or_else(short)? {
        [1, 0, a, b, _, _] => (u32::from(u16::from_le_bytes([a, b])), 10),
        [2 | 3, 0, a, b, c, d] => (u32::from_le_bytes([a, b, c, d]), 12),
        _ => return Err(wrong("its version is not 1, 2 or 3")),
    };
    let length = usize::try_from(length).ok().filter(|&length| length <= HEADER).ok_or_else(|| wrong("its header is too long"))?;
    let text = bytes.get(start..start + length).ok_or_else(short)?;
    let text = std::str::from_utf8(text).map_err(|_| wrong("its header is no text"))?.trim_end();
    if nests(text) > DEEP {
        return Err(wrong("its header nests too deep"));
    }
    let parsed: Value = text.parse().map_err(|_| wrong("its header is no Python dictionary"))?;
    let entries = parsed.as_dict().ok_or_else(|| wrong("its header is no Python dictionary"))?;
    let mut found = [None; 3];
    for (key, value) in entries {
        let at = ["descr", "fortran_order", "shape"].iter().position(|wanted| key.as_string().is_some_and(|key| key == *wanted));
        match at {
            Some(at) if found[at].is_none() => found[at] = Some(value),
            _ => return Err(wrong("its header has other entries than `descr`, `fortran_order` and `shape`")),
        }
    }
    let [Some(descr), Some(Value::Boolean(_)), Some(Value::Tuple(extents))] = found else {
        return Err(wrong("its header lacks `descr`, `fortran_order` or `shape`"));
    };
    let plain = |dtype: &String| width(dtype).is_some();
    let Some(dtype) = descr.as_string().filter(|dtype| plain(dtype)) else {
        let shown: String = descr.to_string().chars().take(40).collect();
        return Err(DataError::Type { name: name.to_owned(), dtype: shown });
    };
    if extents.len() > EXTENTS {
        return Err(wrong("its shape has too many extents"));
    }
    let extent = |value: &Value| value.as_integer().and_then(|extent| usize::try_from(extent).ok());
    let shape = extents.iter().map(extent).collect::<Option<Vec<usize>>>().ok_or_else(|| wrong("its shape is not of natural numbers"))?;
    let size = shape.iter().try_fold(width(dtype).unwrap_or(1), |size: usize, &extent| size.checked_mul(extent));
    // An extent of 0 would let the others be anything.
    if size.is_none_or(|size| size != bytes.len() - start - length) || shape.contains(&0) {
        return Err(wrong("it has not as many elements as its shape, or none"));
    }
    Ok(Header { shape, dtype: dtype.clone() })
}

/// How deep brackets nest, whatever they are.
fn nests(text: &str) -> usize {
    let (mut depth, mut most) = (0_usize, 0);
    for c in text.bytes() {
        match c {
            b'(' | b'[' | b'{' => depth += 1,
            b')' | b']' | b'}' => depth = depth.saturating_sub(1),
            _ => {}
        }
        most = most.max(depth);
    }
    most
}

/// The bytes of an element of a type that is read.
fn width(dtype: &str) -> Option<usize> {
    let mut chars = dtype.chars();
    let order = chars.next()?;
    match (order, chars.as_str()) {
        ('|' | '<' | '>', "b1" | "i1" | "u1") => Some(1),
        ('<' | '>', "i2" | "u2") => Some(2),
        ('<' | '>', "i4" | "u4" | "f4") => Some(4),
        ('<' | '>', "i8" | "u8" | "f8") => Some(8),
        _ => None,
    }
}

/// The array; none if it takes more than so many bytes as doubles.
fn array(bytes: &[u8], name: &str, most: u64) -> Result<Option<Tensor>, DataError> {
    let Header { shape, dtype } = header(bytes, name)?;
    // The bytes of as many elements are there: the product is no larger than their number.
    if 8 * shape.iter().product::<usize>() as u64 > most {
        return Ok(None);
    }
    let data = match &dtype[1..] {
        "b1" => elements(bytes, name, &shape, |v: bool| f64::from(u8::from(v))),
        "i1" => elements(bytes, name, &shape, |v: i8| f64::from(v)),
        "u1" => elements(bytes, name, &shape, |v: u8| f64::from(v)),
        "i2" => elements(bytes, name, &shape, |v: i16| f64::from(v)),
        "u2" => elements(bytes, name, &shape, |v: u16| f64::from(v)),
        "i4" => elements(bytes, name, &shape, |v: i32| f64::from(v)),
        "u4" => elements(bytes, name, &shape, |v: u32| f64::from(v)),
        "i8" => elements(bytes, name, &shape, |v: i64| v as f64),
        "u8" => elements(bytes, name, &shape, |v: u64| v as f64),
        "f4" => elements(bytes, name, &shape, |v: f32| f64::from(v)),
        _ => elements(bytes, name, &shape, |v: f64| v),
    }?;
    Ok(Some(Tensor::new(shape, data)))
}

/// The elements, row by row, in whichever order they lie.
fn elements<T: Deserialize>(bytes: &[u8], name: &str, shape: &[usize], number: impl Fn(T) -> f64) -> Result<Vec<f64>, DataError> {
    let wrong = |why: String| DataError::Array { name: name.to_owned(), why };
    let file = NpyFile::new(bytes).map_err(|error| wrong(error.to_string()))?;
    let columns = file.order() == npyz::Order::Fortran;
    let stored = file.data::<T>().map_err(|error| wrong(error.to_string()))?;
    let stored = stored.map(|value| value.map(&number)).collect::<Result<Vec<f64>, _>>().map_err(|error| wrong(error.to_string()))?;
    if stored.len() != shape.iter().product::<usize>() {
        return Err(wrong("it has not as many elements as its shape".to_owned()));
    }
    if !columns || shape.len() < 2 {
        return Ok(stored);
    }
    // Column by column, the first index runs fastest.
    let place = |mut at: usize| {
        let mut from = 0;
        let mut stride = stored.len();
        for &extent in shape.iter().rev() {
            stride /= extent;
            from += stride * (at % extent);
            at /= extent;
        }
        stored[from]
    };
    Ok((0..stored.len()).map(place).collect())
}

/// An array that a program's transitions have.
#[derive(Clone, Debug, PartialEq)]
pub struct Wanted {
    /// Its name: `s`, `a`, `r`, `s_next`, `done`, or as the program calls its observations.
    pub name: String,
    /// The shape of one sample; empty for a number.
    pub shape: Vec<usize>,
    /// Of how many it is a choice, if it is one: then it may also be given as an index.
    pub choices: Option<usize>,
    /// Whether it must be there.
    pub required: bool,
}

impl Wanted {
    fn in_words(&self) -> String {
        let full = [&["B".to_owned()], self.shape.iter().map(usize::to_string).collect::<Vec<_>>().as_slice()].concat().join(", ");
        match self.choices {
            Some(choices) => format!("[B] of 0 to {} or one-hot [{full}]", choices.saturating_sub(1)),
            None => format!("[{full}]"),
        }
    }
}

/// Checks that arrays are the wanted ones, with as many samples each and only finite numbers, and brings them into shape:
/// `[B]` and the shape of a sample, choices one-hot.
///
/// # Errors
/// [`DataError`] for the first that is not.
pub fn transitions(arrays: Tensors, wanted: &[Wanted]) -> Result<Tensors, DataError> {
    if let Some(name) = arrays.keys().find(|name| !wanted.iter().any(|wanted| wanted.name == **name)) {
        let has = wanted.iter().map(|wanted| format!("`{}`", wanted.name)).collect::<Vec<_>>().join(", ");
        return Err(DataError::Name { name: name.clone(), has });
    }
    let mut fitted = Tensors::new();
    let mut samples: Option<usize> = None;
    for wanted in wanted {
        let Some(array) = arrays.get(&wanted.name) else {
            if wanted.required {
                return Err(DataError::Missing { name: wanted.name.clone() });
            }
            continue;
        };
        let other = |want: String| DataError::Shape { name: wanted.name.clone(), got: array.shape.clone(), want };
        let Some(&count) = array.shape.first() else { return Err(other(wanted.in_words())) };
        if let Some(index) = array.data.iter().position(|v| !v.is_finite()) {
            return Err(value(wanted, array.data[index], index, "a finite number".to_owned()));
        }
        if samples.is_some_and(|samples| samples != count) {
            return Err(other(format!("as many samples as the others have, {}", samples.unwrap_or(0))));
        }
        samples = Some(count);
        fitted.insert(wanted.name.clone(), fit(array, wanted).ok_or_else(|| other(wanted.in_words()))??);
    }
    Ok(fitted)
}

fn value(wanted: &Wanted, value: f64, index: usize, want: String) -> DataError {
    DataError::Value { name: wanted.name.clone(), value, index, want }
}

/// An array in the shape that is wanted; none if it has another.
fn fit(array: &Tensor, wanted: &Wanted) -> Option<Result<Tensor, DataError>> {
    let (&count, inner) = array.shape.split_first()?;
    let shape = [&[count], wanted.shape.as_slice()].concat();
    let same = inner == wanted.shape.as_slice();
    // Numbers may stand in a column, and a column of numbers in a row.
    let column = inner.iter().product::<usize>() == 1 && wanted.shape.iter().product::<usize>() == 1;
    let Some(choices) = wanted.choices.filter(|&choices| choices > 0) else {
        return (same || column).then(|| Ok(Tensor::new(shape, array.data.clone())));
    };
    if same {
        let odd = array.data.iter().position(|&v| v != 0.0 && v != 1.0);
        let odd = odd.map(|index| (index, "0 or 1".to_owned()));
        let rows = array.data.chunks(choices).position(|row| row.iter().sum::<f64>() != 1.0);
        let odd = odd.or(rows.map(|row| (row * choices, "in a row with one 1".to_owned())));
        return Some(odd.map_or_else(
            || Ok(Tensor::new(shape, array.data.clone())),
            |(index, want)| Err(value(wanted, array.data[index], index, want)),
        ));
    }
    if wanted.shape != [choices] || inner.iter().product::<usize>() != 1 {
        return None;
    }
    let mut data = vec![0.0; count.checked_mul(choices)?];
    for (index, &choice) in array.data.iter().enumerate() {
        if choice < 0.0 || choice >= choices as f64 || choice != libm::floor(choice) {
            return Some(Err(value(wanted, choice, index, format!("a whole number from 0 to {}", choices.saturating_sub(1)))));
        }
        data[index * choices + choice as usize] = 1.0;
    }
    Some(Ok(Tensor::new(shape, data)))
}
