//! The keeper's orders on the real kernel tables.

use abi::BanValue;
use anyhow::Result;
use enforce::xdp::Orders;
use ipnet::IpNet;

use crate::keeper::Kernel;

/// The pinned tables of bans and allows.
pub struct KernelOrders(pub Orders);

impl Kernel for KernelOrders {
    fn set_ban(&mut self, net: IpNet, value: BanValue) -> Result<()> {
        Ok(self.0.set_ban(net, value)?)
    }
    fn clear_ban(&mut self, net: IpNet) -> Result<()> {
        Ok(self.0.clear_ban(net)?)
    }
    fn set_allow(&mut self, net: IpNet, until: u64) -> Result<()> {
        Ok(self.0.set_allow(net, until)?)
    }
    fn clear_allow(&mut self, net: IpNet) -> Result<()> {
        Ok(self.0.clear_allow(net)?)
    }
    fn judge_flows_again(&mut self) -> Result<()> {
        self.0.bump_epoch()?;
        Ok(())
    }
}
