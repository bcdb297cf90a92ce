// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.24;

import {IDaeeManager} from "../src/interfaces/IDaeeManager.sol";
import {Market} from "./Market.sol";

contract EndsTest is Market {
    function test_a_stopped_lease_is_paid_to_its_end_and_the_rest_goes_back() public {
        uint256 id = _run();
        uint64 started = _now();
        _pass(INTERVAL);
        _anchor(alpha);
        _pass(20);
        _stop(id);
        uint64 ended = _now();
        _assertPhase(id, IDaeeManager.Phase.Closing);
        _pass(5);
        _anchorAndOpen(id);
        manager.finish(id);
        _assertPhase(id, IDaeeManager.Phase.Closed);
        uint256 paid = uint256(ended - started) * RATE;
        assertEq(manager.claimable(_ownerOf("alpha")), paid);
        assertEq(manager.claimable(tenant), PAYMENT - FEE - paid);
    }
}
