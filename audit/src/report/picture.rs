//! Pictures of a report: bytes that a PNG holds, as text in JSON.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Why values are no picture.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PictureError {
    /// The number of values.
    #[error("a picture of {planes} planes of {height} by {width} has another number of values than {count}")]
    Size {
        /// Planes.
        planes: usize,
        /// Rows.
        height: usize,
        /// Columns.
        width: usize,
        /// Values.
        count: usize,
    },
    /// The number of planes.
    #[error("a picture has 1 plane or 3, not {0}")]
    Planes(usize),
    /// The PNG could not be made.
    #[error("no PNG: {0}")]
    Png(String),
}

/// A picture of 8 bits: grey, or red, green and blue.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Picture {
    /// Rows.
    pub height: u32,
    /// Columns.
    pub width: u32,
    /// 1 or 3.
    pub planes: u8,
    /// Row by row, the colours of a pixel beside each other; as base64 in JSON.
    #[serde(serialize_with = "to_text", deserialize_with = "from_text")]
    pub pixels: Vec<u8>,
}

impl Picture {
    /// A picture of planes that follow each other, values in [0, 1]; those outside are clipped, those that are no numbers are black.
    ///
    /// # Errors
    /// [`PictureError`] if the numbers do not fit.
    pub fn of_planes(values: &[f64], planes: usize, height: usize, width: usize) -> Result<Self, PictureError> {
        let size = height.checked_mul(width).filter(|&size| size > 0 && size.checked_mul(planes) == Some(values.len()));
        let wrong = || PictureError::Size { planes, height, width, count: values.len() };
        let size = size.ok_or_else(wrong)?;
        let (Ok(rows), Ok(columns)) = (u32::try_from(height), u32::try_from(width)) else { return Err(wrong()) };
        let count = match planes {
            1 => 1,
            3 => 3,
            _ => return Err(PictureError::Planes(planes)),
        };
        let byte = |v: f64| (255.0 * v.clamp(0.0, 1.0)).round() as u8;
        let pixels = (0..size).flat_map(|i| (0..planes).map(move |p| byte(values[p * size + i]))).collect();
        Ok(Self { height: rows, width: columns, planes: count, pixels })
    }

    /// The picture as a PNG file.
    ///
    /// # Errors
    /// [`PictureError`] if the size and the number of pixels disagree.
    pub fn png(&self) -> Result<Vec<u8>, PictureError> {
        let failed = |error: png::EncodingError| PictureError::Png(error.to_string());
        let colour = match self.planes {
            1 => png::ColorType::Grayscale,
            3 => png::ColorType::Rgb,
            planes => return Err(PictureError::Planes(planes.into())),
        };
        let mut file = Vec::new();
        let mut encoder = png::Encoder::new(&mut file, self.width, self.height);
        encoder.set_color(colour);
        encoder.set_depth(png::BitDepth::Eight);
        let mut writer = encoder.write_header().map_err(failed)?;
        writer.write_image_data(&self.pixels).map_err(failed)?;
        writer.finish().map_err(failed)?;
        Ok(file)
    }

    /// The PNG as the address of an image in a page.
    ///
    /// # Errors
    /// As [`Picture::png`].
    pub fn address(&self) -> Result<String, PictureError> {
        Ok(format!("data:image/png;base64,{}", STANDARD.encode(self.png()?)))
    }
}

fn to_text<S: Serializer>(pixels: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&STANDARD.encode(pixels))
}

fn from_text<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
    STANDARD.decode(String::deserialize(deserializer)?).map_err(serde::de::Error::custom)
}
