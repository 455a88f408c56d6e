Feature: What is right now is right after the next start

  "Enabled" and "configured" are promises. Here the container is shut down and started once more,
  after everything else, and Docker and its confinement are asked again. On the lab, the node boots
  in between.

  @id:next-start @node @container @mutates @last @req:VAL-2 @req:STEP-2.2
  Scenario: A container that is started anew has its Docker and its confinement
    Given the container is running
    When the container is started anew, on the lab after a boot of the node
    Then the container has started
    And Docker is running and starts at boot
    And Docker's driver is one of those that do not copy layers
    And every process runs under an enforced profile and a seccomp filter
