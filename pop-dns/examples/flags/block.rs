//! The flag that names an address block.

use std::net::IpAddr;

/// `ADDR/BITS`.
pub(crate) fn block(text: &str) -> Result<(IpAddr, u8), String> {
    let expected = || "expected a block as 198.51.100.0/24".to_owned();
    let (address, bits) = text.split_once('/').ok_or_else(expected)?;
    Ok((address.parse().map_err(|_| expected())?, bits.parse().map_err(|_| expected())?))
}
