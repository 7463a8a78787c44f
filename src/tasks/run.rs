//! stub
pub struct Settings;
pub struct Tasks;
pub struct Wake;
