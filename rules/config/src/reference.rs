//! x
/// R
pub fn reference() -> String {
    String::new()
}
