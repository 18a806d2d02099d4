${ring.account}
