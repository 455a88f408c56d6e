Feature: Provisioning twice is provisioning once

  "Exits 0" is not enough: a second run that restarts Docker, rewrites a file or loses the
  profile exits 0, too.

  @id:again @node @container @mutates @req:VAL-5 @req:STEP-3.3
  Scenario: A second provisioning changes nothing
    Given the container is running
    And the state of node and container is recorded
    When it is provisioned again
    Then provisioning succeeded again, also by what it printed
    And node and container are as they were recorded
